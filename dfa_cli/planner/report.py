"""Says what a plan shows: as a table with sentences, as CSV, or as JSON. The sentences follow from the numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from dfa_cli.console.table import csv_text, lay_out, wrap
from dfa_cli.console.values import NOTHING, duration, plural, quantity
from dfa_cli.devices.optics import MIRRORS
from dfa_cli.planner.plan import DEFAULT_OPTICS, FAST_ENOUGH, FORWARD_FIRST, GIVEN, MODELLED, Line, Plan

WIDTH = 80  # columns of the text where there is no terminal
FASTEST_MIRRORS = (
    32_552  # binary patterns a second: Texas Instruments, data sheet of the DLP7000 (1024 x 768 mirrors)
)
BOUND = "bp never waiting"
QUICK_OPU = f"dfa OPU {FAST_ENOUGH}"
NEARLY_ALL = 0.9  # the share of a step that all lines wait
LEGEND = (
    "A step takes one batch through all stages, and back if the rule is bp. Idle is the share of it in which a stage "
    "waits, as a mean of all stages: with unequal stages all others wait for the busiest. The memory is that of the "
    "fullest stage, with activations kept and recomputed."
)


def text(plan: Plan, width: int | None) -> str:
    """Write a plan as tables and sentences."""
    width = width or WIDTH
    lines = [
        *_head(plan, width),
        "",
        *wrap(LEGEND, width),
        *wrap(_opus(plan), width),
        "",
        *lay_out(
            ["", "step", "idle", "/ best bp", "memory kept", "memory recomputed"],
            [
                [
                    line.name,
                    duration(line.seconds, fine=True),
                    _percent(line.idle),
                    _ratio(line.seconds / plan.best_bp.seconds),
                    quantity(line.memory, "B"),
                    quantity(line.memory_recompute, "B"),
                ]
                for line in plan.lines
            ]
            + [
                [
                    BOUND,
                    duration(plan.bound, fine=True),
                    NOTHING,
                    _ratio(plan.bound / plan.best_bp.seconds),
                    NOTHING,
                    NOTHING,
                ]
            ],
            [True] + 5 * [False],
            keys=1,
            width=width,
        ),
        "",
        "Bytes of a step, over all links:",
        *lay_out(
            ["", "forward", "backward", "error", "feedback"],
            [
                [
                    line.name,
                    *(
                        quantity(value, "B")
                        for value in (
                            line.forward_bytes,
                            line.backward_bytes,
                            line.error_bytes,
                            line.feedback_bytes,
                        )
                    ),
                ]
                for line in plan.lines
            ],
            [True] + 4 * [False],
            keys=1,
            width=width,
        ),
        "",
    ]
    for sentence in [*conclusions(plan), *plan.missing, *_notes(plan)]:
        lines += wrap(sentence, width)
    return "\n".join(lines) + "\n"


def _head(plan: Plan, width: int) -> list[str]:
    work, options = plan.work, plan.options
    count = options.micro_batches
    parts = "1 micro-batch" if count == 1 else f"{count} micro-batches"
    costs = "operations counted" if work.measured is None else "times of the blocks measured"
    return wrap(
        f"{work.name} ({quantity(work.parameters)} parameters, {len(work.blocks)} blocks) on {plan.place}: "
        f"{plural(options.stages, 'stage')}, {parts} of {_rows(plan)}, "
        f"{costs}, activations {'recomputed' if options.recompute else 'kept'}. Planned, not run.",
        width,
    )


def _rows(plan: Plan) -> str:
    """Say how many rows a micro-batch has, as `dfa train` divides a batch: `21 or 22 samples (256 in a batch)`."""
    work, count = plan.work, plan.options.micro_batches
    least, more = divmod(work.rows, count)
    words = f"{least:,} or {least + 1:,} {work.row}s" if more else f"{least:,} {work.row}s"
    if more and work.unit > 1:  # whole sequences, which nobody has divided yet
        words = f"{work.rows / count:,.0f} {work.row}s on average"
    return words if count == 1 else f"{words} ({work.rows:,} in a batch)"


def _opus(plan: Plan) -> str:
    """Explain the lines with an optical processing unit."""
    return (
        f"dfa OPU: one optical processing unit projects the error for all stages. {_rate(plan)} "
        f"It is {FAST_ENOUGH} with {in_words(plan.needed_pattern_rate)}: then it shows the errors of a step in the "
        "time in which the busiest stage computes. With few micro-batches a still faster one shortens the step."
    )


def _rate(plan: Plan) -> str:
    """Say how fast the OPU of the plan is, and which rate the given one stands for: that of a configured device."""
    options = plan.options
    configured = options.optics is not DEFAULT_OPTICS
    source = options.optics.name if configured else "docs/opu.md"
    first, instead = f"{MODELLED.capitalize()} ({source})", ""
    if options.pattern_rate is not None:
        first = f"{GIVEN.capitalize()} (--pattern-rate)"
        instead = f", in place of the {_number(plan.modelled_pattern_rate)} of {source}" if configured else ""
    return f"{first} it shows {in_words(plan.pattern_rate)}{instead}."


def in_words(pattern_rate: float) -> str:
    return f"{_number(pattern_rate)} patterns a second"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.3g}"


def _notes(plan: Plan) -> Iterator[str]:
    yield (
        f"{BOUND}: the busiest stage works all the time. No schedule of bp with one part of the model on a stage can "
        "beat that. Several smaller parts can divide the blocks more evenly."
    )
    staggered = {
        line.schedule: duration(line.run.between_barriers, fine=True)
        for line in plan.lines
        if line.rule == "bp" and line.run.between_barriers > 1.005 * line.seconds
    }
    if staggered:
        yield (
            f"{', '.join(map(str, staggered))}: without a barrier between steps, so that each stage updates its "
            f"weights on its own. With a barrier a step takes {', '.join(staggered.values())}."
        )


def _ratio(value: float) -> str:
    return "over 100" if value > 100 else f"{value:.2f}" if value >= 0.01 else "under 0.01"


def _percent(share: float) -> str:
    return f"{100 * max(share, 0.0):.1f} %"


def conclusions(plan: Plan) -> list[str]:
    """Say where direct feedback alignment wins, where it does not, and what an optical device would have to do."""
    if _only_waits(plan):
        waiting = (
            "Nearly all of a step is spent waiting for messages: the network is too small for this hardware to divide, "
            "and how fast an optical device would have to be means nothing here."
        )
        return [*_against_backpropagation(plan), waiting, *_memory(plan)]
    return [*_against_backpropagation(plan), *_projection(plan), *_optics(plan), *_memory(plan)]


def _against_backpropagation(plan: Plan) -> Iterator[str]:
    """Compare the time, the work and the traffic of DFA with those of the best schedule of backpropagation."""
    best, costs = plan.best_bp, plan.costs
    local, first = plan.line("dfa local"), plan.line(f"dfa {FORWARD_FIRST}")
    assert local is not None
    assert first is not None
    yield _compared("dfa with local projection", local, best)
    if abs(local.seconds / first.seconds - 1) > 0.005:
        words = _compared("With all forward passes first, as dfa train runs it, dfa", first, best)
        if first.memory > 1.005 * local.memory:
            held = f"{quantity(first.memory, 'B')} in place of {quantity(local.memory, 'B')}"
            words = f"{words[:-1]}, and a stage holds all micro-batches: {held}."
        yield words
    total = float(costs.backpropagation.sum())
    saved, projection = float(costs.input_gradient.sum()), float(costs.projection.sum())
    more = "more" if saved / total > best.busiest_idle else "less"
    yield (
        f"dfa leaves out the gradients of the blocks' inputs, {_percent(saved / total)} of bp's work. That is {more} "
        f"than the busiest stage loses by waiting under {best.schedule}, {_percent(best.busiest_idle)} of its step"
        # The table has the mean, which is larger where the stages are unequal.
        + (
            f" (idle is the mean of all stages, {_percent(best.idle)})."
            if best.idle - best.busiest_idle > 0.001
            else "."
        )
    )
    if projection / total >= 0.0005:
        yield f"The local projection adds {_percent(projection / total)} of bp's work."
    pipe = plan.line("bp 1f1b")
    assert pipe is not None
    if pipe.backward_bytes:
        times = pipe.backward_bytes / local.error_bytes
        yield (
            f"In a step dfa sends back {quantity(local.error_bytes, 'B')} of errors, to all stages. bp 1f1b sends back "
            f"{quantity(pipe.backward_bytes, 'B')} of gradients, "
            + (f"{times:.3g} times as much." if times >= 1 else f"{1 / times:.3g} times less.")
        )


def _compared(what: str, line: Line, best: Line) -> str:
    ratio = line.seconds / best.seconds
    if ratio < 0.995:
        return f"{what} takes {ratio:.2f} of the time of bp's best schedule here, {best.schedule}."
    if ratio <= 1.005:
        return f"{what} takes as long as bp's best schedule here, {best.schedule}."
    return (
        f"{what} is slower than bp's best schedule here: {_ratio(ratio)} times the time of {best.schedule}."
    )


def _projection(plan: Plan) -> Iterator[str]:
    """Say up to how many stages DFA is faster than backpropagation in which no stage ever waits."""
    costs, options = plan.costs, plan.options
    forward = float(costs.forward.sum())
    left_out = float(costs.input_gradient.sum())
    gained = left_out - float(costs.projection.sum())
    if gained <= 0:
        yield (
            f"The local projection costs {'more than' if -gained > 0.01 * left_out else 'as much as'} what is left "
            "out. So dfa gains only where bp waits: with equal stages, a bp that never waits is at least as fast."
        )
        return
    if options.stages == 1:
        return
    if options.micro_batches < 2 * options.stages - 1:
        yield (
            f"With fewer than {2 * options.stages - 1} micro-batches for {options.stages} stages, bp has to wait under "
            "every schedule."
        )
        return
    passes = "a forward pass takes" if options.stages == 2 else f"{options.stages - 1} forward passes take"
    # Fewer stages than 1 + M gained / forward. An equal number only ties, and rounding must not change that.
    limit = 1 + options.micro_batches * gained / forward
    most = math.ceil(limit - 1e-6) - 1
    yield (
        f"dfa local waits for the first error, as long as {passes}. With M = {options.micro_batches} micro-batches, "
        "equal stages and messages that take no time, it is ahead of a bp that never waits "
        + (f"up to {most} stages" if most > 1 else "at no number of stages")
        # The product of a rounded number would not be the limit.
        + f" (fewer than 1 + {gained / forward:.2f} M, which is {limit:,.1f})"
        + ("; beyond, the advantage vanishes." if most > 1 else ".")
    )


def _optics(plan: Plan) -> Iterator[str]:
    """Say how many patterns a second, how many cameras and how many mirrors the optical projection needs."""
    work, options = plan.work, plan.options
    rate, needed = plan.pattern_rate, plan.needed_pattern_rate
    patterns = work.rows * work.labelled * options.patterns_per_row
    slower = needed / rate
    shows = f"{options.optics.name} shows {_number(rate)} with {plan.columns:,} columns (docs/opu.md)"
    if options.pattern_rate is not None:
        shows = f"The given one (--pattern-rate) shows {_number(rate)}"
    labelled = "labelled " if work.labelled < 1 else ""
    yield (
        f"To keep up with the busiest stage, one OPU has to show {in_words(needed)} "
        f"({options.patterns_per_row} a {labelled}{work.row}). {shows}, "
        + (f"{_number(slower)} times too few" if slower > 1 else "which is enough")
        + f"; the fastest mirrors of the DLP7000's data sheet, without a camera, {FASTEST_MIRRORS:,}."
    )
    if slower > 1:
        yield (
            f"At {in_words(rate)} a batch of {work.rows * work.labelled:,.0f} {labelled}{work.row}s "
            f"takes {duration(patterns / rate, fine=True)} of light."
        )
    modes = options.optics.modes
    if plan.columns > modes:
        yield (
            f"The blocks read {plan.columns:,} columns of the projection, and one camera {modes:,} "
            f"({plural(options.optics.pixels_per_mode, 'pixel')} a column): {math.ceil(plan.columns / modes)} devices "
            "side by side."
        )
    if work.classes > MIRRORS:
        yield f"The error has {work.classes:,} entries, more than the {MIRRORS:,} mirrors."
    for what, rate in _slow_links(plan).items():
        yield (
            f"Its host would have to {'send' if what == 'feedback' else 'receive'} {quantity(rate, 'B/s')} of {what}; "
            f"the link carries {quantity(plan.hardware.bandwidth, 'B/s')}, which then holds the stages up, however "
            "fast the light is."
            + (
                " With --share-columns it sends one slice for all blocks."
                if what == "feedback" and not options.share_columns
                else ""
            )
        )


def _slow_links(plan: Plan) -> dict[str, float]:
    """Return what the optical device must receive and send faster than a link carries it, in bytes a second.

    Then the link holds the stages up, even if the light never does.
    """
    costs = plan.costs
    columns = {
        "errors": plan.work.classes,
        "feedback": costs.widest.max() if plan.options.share_columns else costs.columns.sum(),
    }
    rates = {
        what: float(count * costs.error_rows * plan.work.value_bytes / plan.busiest)
        for what, count in columns.items()
    }
    return {what: rate for what, rate in rates.items() if rate > plan.hardware.bandwidth}


def _only_waits(plan: Plan) -> bool:
    """Tell whether nearly all of a step is spent waiting, whatever the rule and the schedule."""
    return min(line.idle for line in plan.lines) > NEARLY_ALL


def _memory(plan: Plan) -> Iterator[str]:
    room = plan.hardware.memory
    kept = [line.name for line in plan.lines if line.memory <= room]
    recomputed = [line.name for line in plan.lines if line.memory_recompute <= room]
    if not recomputed:
        yield (
            f"Nothing fits in the {quantity(room, 'B')} of a stage, with activations kept or recomputed. Take more "
            "stages, more micro-batches or a smaller --batch."
        )
    elif len(kept) < len(plan.lines):
        yield (
            f"In the {quantity(room, 'B')} of a stage {_fits(kept, plan)} with activations kept, and "
            f"{_fits(recomputed, plan)} with recompute."
        )


def _fits(names: Sequence[str], plan: Plan) -> str:
    if not names:
        return "nothing fits"
    return (
        "everything fits"
        if len(names) == len(plan.lines)
        else f"{', '.join(names)} {'fits' if len(names) == 1 else 'fit'}"
    )


def rows(plan: Plan) -> list[dict[str, Any]]:
    """Return what the table shows as plain data, with the numbers of stages and micro-batches."""
    found = [_row(plan, line) for line in plan.lines]
    rule, schedule = BOUND.split(" ", 1)
    bound = {"rule": rule, "schedule": schedule, "seconds": plan.bound}
    given = ("model", "hardware", "stages", "micro_batches", "activations")
    return [*found, {key: found[0][key] if key in given else bound.get(key) for key in found[0]}]


def _row(plan: Plan, line: Line) -> dict[str, Any]:
    return {
        "model": plan.work.name,
        "hardware": plan.place,
        "stages": plan.options.stages,
        "micro_batches": plan.options.micro_batches,
        "activations": "recompute" if plan.options.recompute else "keep",
        "rule": line.rule,
        "schedule": line.schedule,
        "projector": line.projector,
        "opu": line.opu,
        "pattern_rate": line.pattern_rate,
        "seconds": line.seconds,
        "idle": line.idle,
        "forward_bytes": line.forward_bytes,
        "backward_bytes": line.backward_bytes,
        "error_bytes": line.error_bytes,
        "feedback_bytes": line.feedback_bytes,
        "memory_bytes": line.memory,
        "memory_recompute_bytes": line.memory_recompute,
    }


def as_csv(plans: Sequence[Plan]) -> str:
    return csv_text([row for plan in plans for row in rows(plan)])


def as_json(plans: Sequence[Plan]) -> str:
    content = [
        {
            "lines": rows(plan),
            "bound_seconds": plan.bound,
            "needed_pattern_rate": plan.needed_pattern_rate,
            "conclusions": conclusions(plan),
            "missing": plan.missing,
        }
        for plan in plans
    ]
    return json.dumps(content, indent=1) + "\n"


def sweep_text(plans: Sequence[Plan], key: str, width: int | None) -> str:
    """Write the step of each plan as a table, with the rate that an OPU needs, and say where dfa is the fastest."""
    width = width or WIDTH
    names = list(dict.fromkeys(line.name for plan in plans for line in plan.lines))
    rows = []
    for plan in plans:
        found = {line.name: line.seconds for line in plan.lines}
        rows.append(
            [
                str(getattr(plan.options, key)),
                *(duration(found.get(one), fine=True) for one in names),
                quantity(plan.needed_pattern_rate, "Hz"),
            ]
        )
    first = plans[0]
    heads = [key.replace("_", "-"), *names, "an OPU needs"]
    lines = [
        *wrap(
            f"{first.work.name} on {first.hardware.name}: the time of a step. Planned, not run. dfa OPU: one optical "
            f"processing unit. {_rate(first)}",
            width,
        ),
        "",
        *lay_out(heads, rows, [False] * len(heads), keys=1, width=width),
        "",
    ]
    for sentence in _sweep_conclusions(plans, key):
        lines += wrap(sentence, width)
    return "\n".join(lines) + "\n"


def _sweep_conclusions(plans: Sequence[Plan], key: str) -> Iterator[str]:
    """Say for each way to train by DFA at which values of `key` it is faster than the best schedule of bp."""

    def where(chosen: Sequence[Plan]) -> str:
        values = [str(getattr(plan.options, key)) for plan in chosen]
        if len(chosen) == len(plans):
            return "everywhere"
        noun = {"stages": "stage", "micro_batches": "micro-batch"}[key]
        noun = noun if values == ["1"] else key.replace("_", "-")
        return f"at {', '.join(values)} {noun}" if values else "nowhere"

    for way in dict.fromkeys(line.name for plan in plans for line in plan.lines if line.rule == "dfa"):
        ahead = [
            plan
            for plan in plans
            for line in plan.lines
            if line.name == way and line.seconds < plan.best_bp.seconds
        ]
        yield f"{way} is ahead of bp's best schedule {where(ahead)}."
    if waiting := [plan for plan in plans if _only_waits(plan)]:
        yield (
            f"Nearly all of a step is spent waiting for messages {where(waiting)}: there the network is too small for "
            "this hardware to divide, and what an OPU needs means nothing."
        )
    if held_up := [plan for plan in plans if _slow_links(plan) and not _only_waits(plan)]:
        carried = quantity(plans[0].hardware.bandwidth, "B/s")
        yield (
            f"{QUICK_OPU} is held up by a link, and not by its light, {where(held_up)}: its host would have to send "
            f"or receive more than the {carried} that a link carries."
        )
