"""Draws plans: the timelines of one plan, or curves over several plans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dfa_cli.errors import DfaError
from dfa_cli.planner.plan import FAST_ENOUGH, SCHEDULES, Line, Plan
from dfa_cli.planner.report import in_words
from dfa_cli.planner.schedules import BACKWARD, FORWARD
from dfa_cli.plots.style import INK, Look, dress, finish, line_look
from dfa_cli.plots.timeline import Bar, Timeline, draw_timelines

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def timeline(plan: Plan, line: Line) -> Timeline:
    """List what each stage of a plan does and when. A central projection device has a row of its own, the last one."""
    assert line.run.starts is not None
    order, durations = line.order, line.timing.durations
    rows = [f"stage {s + 1}" for s in range(order.stages)]  # numbered as everywhere that users look
    bars = []
    begin = float(line.run.begin.min())
    for s in range(order.stages):
        for code, start in zip(order.codes[s].tolist(), line.run.starts[s].tolist(), strict=True):
            place, m = divmod(code, order.micro_batches)
            kind, v = divmod(place, order.virtual)
            seconds = float(durations[kind, v])
            start -= begin
            if kind == FORWARD:
                work = "forward"
            elif kind == BACKWARD:
                work = "backward"
            else:
                work = "weight gradients"
                if line.projector == "local" and (projecting := float(plan.costs.projection[s])):
                    bars.append(Bar(s, start, projecting, "projection", m))
                    start, seconds = start + projecting, seconds - projecting
            bars.append(Bar(s, start, seconds, work, m))
    if line.exposures:
        rows.append("OPU")
        bars += [
            Bar(len(rows) - 1, first - begin, last - first, "projection", m)
            for m, (first, last) in enumerate(line.exposures)
        ]
    return Timeline(rows, bars)


def draw_plan(plan: Plan) -> Figure:
    """Draw a timeline of each line of a plan. Raises `DfaError` when there are too many bars to see."""
    enumerated = [line for line in plan.lines if line.run.starts is not None]
    if len(enumerated) < len(plan.lines):
        raise DfaError(
            f"{plan.options.micro_batches} micro-batches are too many to see in one picture; give fewer "
            "--micro-batches, or draw curves with --sweep."
        )
    caption = f"{plan.work.name} on {plan.place}, {plan.options.micro_batches} micro-batches. Planned."
    # An OPU that is much too slow would leave no room for the others.
    lines = [
        line for line in enumerated if line.pattern_rate is None or line.seconds <= 3 * plan.best_bp.seconds
    ]
    return draw_timelines({line.name: timeline(plan, line) for line in lines}, caption)


def draw_sweep(plans: Sequence[Plan], key: str) -> Figure:
    """Draw the time of a step, the idle share, the memory and the rate of an OPU against `key` of the options."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogFormatter

    class PlainLogFormatter(LogFormatter):
        """Labels the ticks that matplotlib chooses as on the other axes, and not as formulas."""

        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:,g}" if super().__call__(x, pos) else ""

    figure = Figure(figsize=(9.6, 5.8), layout="constrained")
    axes = figure.subplots(2, 2).flatten().tolist()
    # In the order of the tables, also where the first plans lack a schedule.
    series: dict[str, list[tuple[int, Line]]] = {f"bp {schedule}": [] for schedule in SCHEDULES}
    for plan in plans:
        for line in plan.lines:
            if line.opu in (None, FAST_ENOUGH):
                series.setdefault(line.name, []).append((getattr(plan.options, key), line))
    recompute = plans[0].options.recompute
    for i, (name, points) in enumerate((name, points) for name, points in series.items() if points):
        look = line_look(i)
        at = [x for x, _ in points]
        axes[0].plot(at, [line.seconds for _, line in points], label=name, **look)
        axes[1].plot(at, [100 * line.idle for _, line in points], label=name, **look)
        memory = [line.memory_recompute if recompute else line.memory for _, line in points]
        axes[2].plot(at, [bytes_ / 1e9 for bytes_ in memory], label=name, **look)
    at = [getattr(plan.options, key) for plan in plans]
    axes[2].axhline(plans[0].hardware.memory / 1e9, color=INK, linewidth=1, linestyle=":")
    axes[3].plot(at, [plan.needed_pattern_rate for plan in plans], color=INK, marker="o", markersize=4)
    axes[3].plot(at, [plan.pattern_rate for plan in plans], color=INK, linewidth=1, linestyle=":")
    words = key.replace("_", "-")
    for axis, name, scale in zip(
        axes,
        ("step (s)", "idle share (%)", "memory of a stage (GB)", "patterns a second an OPU needs"),
        ("log", "linear", "log", "log"),
        strict=True,
    ):
        axis.set_xscale("log", base=2)
        axis.set_xticks(at, [str(x) for x in at], rotation=45 if len(at) > 6 else 0)
        axis.minorticks_off()
        axis.set_yscale(scale)
        # Labels are never read as formulas, which matplotlib would write on a logarithmic axis.
        if scale == "log":
            axis.yaxis.set_minor_formatter(PlainLogFormatter())
        axis.tick_params(axis="y", which="minor", colors=INK, labelsize=8.5)
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        dress(axis, "", words, name)
    first = plans[0]
    caption = (
        f"{first.work.name} on {first.hardware.name}. Planned, not measured.\n"
        f"Dotted: the memory of {first.hardware.name}; the {in_words(first.pattern_rate)} of the "
        f"{'modelled hardware' if first.options.pattern_rate is None else 'given OPU (--pattern-rate)'}."
    )
    finish(figure, axes, Look(), caption)
    return figure
