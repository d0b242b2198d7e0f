"""Draws timelines, planned or measured: stages as rows, the work on micro-batches as bars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dfa_cli.comparison.grouping import differs, key_value
from dfa_cli.console.values import MISSING, format_value
from dfa_cli.errors import DfaError
from dfa_cli.plots.style import COLOURS, INK, Look, dress, finish, inches, place
from dfa_cli.records.keys import config_names
from dfa_cli.records.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What a stage does, and the colour of its bars. A colour of a bar is paler for every other micro-batch.
WORK = {
    "forward": COLOURS[0],
    "loss": COLOURS[6],
    "backward": COLOURS[1],
    "projection": COLOURS[4],
    "weight gradients": COLOURS[2],
}
IN_HEADING = ("parallel._target_", "parallel.schedule", "parallel.projector")  # of every run
MOST_RUNS = 6  # runs in one picture
MOST_BARS = 60_000  # more would be thinner than a pixel
LETTER = 0.05  # inches that a letter in a bar takes; a word that does not fit is left out
AXIS = 0.85  # part of the width of a figure that the axis of time takes
NUMBERED = 260  # bars of a panel; in more of them the numbers of the micro-batches would not fit


@dataclass(frozen=True)
class Bar:
    """Work of one row of a timeline on one micro-batch, from `start` for `seconds`. `work`: a key of `WORK`."""

    row: int
    start: float
    seconds: float
    work: str
    micro_batch: int


@dataclass(frozen=True)
class Timeline:
    """What each row did and when, planned or measured. `rows`: their names, from top to bottom."""

    rows: Sequence[str]
    bars: Sequence[Bar]

    @property
    def has_micro_batches(self) -> bool:
        return any(bar.micro_batch for bar in self.bars)

    @property
    def seconds(self) -> float:
        return max((bar.start + bar.seconds for bar in self.bars), default=0.0)


def measured_timelines(runs: Sequence[Run]) -> dict[str, Timeline]:
    """Returns what each process of the parallel runs did in one training step, by a heading for the run.

    Raises `DfaError` when no run is parallel, or too many are.
    """
    runs = [run for run in runs if any(any(_bars(0, stage)) for stage in _stages(run))]
    if not runs:
        raise DfaError(
            "no run here has a timeline; a completed run with parallel=pipeline or parallel=data has one."
        )
    if len(runs) > MOST_RUNS:
        raise DfaError(
            f"{len(runs)} runs have a timeline, and a picture shows {MOST_RUNS} at most; choose with --where."
        )
    found: dict[str, Timeline] = {}
    names = [", ".join([_heading(run), *_differences(run, runs)]) for run in runs]
    for run, name in zip(runs, names, strict=True):
        stages = _stages(run)
        bars = [bar for row, stage in enumerate(stages) for bar in _bars(row, stage)]
        name += f" ({run.id})" if names.count(name) > 1 else ""
        found[name] = Timeline([f"process {row + 1}" for row in range(len(stages))], bars)
    return found


def _heading(run: Run) -> str:
    """Names the rule of a run, and what else decides the order of its work."""
    words = [
        run.choices.get("rule"),
        "parallel=data" if run.choices.get("parallel") == "data" else None,
        run.flat.get("parallel.schedule"),
        "central" if run.flat.get("parallel.projector") == "central" else None,
        "recompute" if run.flat.get("activations") == "recompute" else None,
    ]
    return ", ".join(format_value(word) for word in words if word)


def _differences(run: Run, runs: Sequence[Run]) -> Iterator[str]:
    """Yields what else of a run's model and of its division differs from the other runs: `micro_batches=4`."""
    keys = [*(key for key in config_names(runs) if key.startswith("parallel.")), "batch_size", "model.hidden"]
    for key in ("model", "data", "device", *keys):
        if (
            differs(runs, key)
            and key not in IN_HEADING
            and (value := key_value(run, key)) not in (None, MISSING)
        ):
            yield f"{key.rpartition('.')[2]}={format_value(value)}"


def _bars(row: int, stage: Mapping[str, Any]) -> Iterator[Bar]:
    """Yields the work that a process has recorded. What is no such work, as in a damaged record, is left out."""
    spans = stage.get("timeline")
    for span in spans if isinstance(spans, list) else ():
        if isinstance(span, dict):
            start, end, micro_batch = (place(span.get(name)) for name in ("from", "to", "micro_batch"))
            work = "weight gradients" if span.get("kind") == "weights" else format_value(span.get("kind"))
            if start is not None and end is not None and micro_batch is not None and work in WORK:
                yield Bar(row, start, end - start, work, int(micro_batch))


def _stages(run: Run) -> list[dict[str, Any]]:
    stages = (run.record.get("parallel") or {}).get("stages")
    return [stage for stage in stages if isinstance(stage, dict)] if isinstance(stages, list) else []


def draw_timelines(timelines: Mapping[str, Timeline], caption: str = "", look: Look = Look()) -> Figure:
    """Draws timelines one below the other, on one axis of time. The keys are their headings.

    Of `look` the title and the size count.

    Raises `DfaError` when there are more bars than can be seen.
    """
    if (bars := sum(len(timeline.bars) for timeline in timelines.values())) > MOST_BARS:
        raise DfaError(
            f"{bars:,} bars are too many to see in one picture; plan fewer stages or micro-batches, or draw curves "
            "with --sweep."
        )
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    heights = [0.55 + min(0.25 * len(timeline.rows), 2.6) for timeline in timelines.values()]
    longest = max(timeline.seconds for timeline in timelines.values())
    width = inches(look.width, "--width") if look.width else 7.6
    height = inches(look.height, "--height") if look.height else sum(heights) + 0.5
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(len(heights), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0].tolist()
    for axis, (heading, timeline) in zip(axes, timelines.items(), strict=True):
        for work, colour in WORK.items():
            for odd in (0, 1):
                for row in range(len(timeline.rows)):
                    chosen = [
                        bar
                        for bar in timeline.bars
                        if bar.row == row and bar.work == work and bar.micro_batch % 2 == odd
                    ]
                    if chosen:
                        axis.broken_barh(
                            [(bar.start, bar.seconds) for bar in chosen],
                            (row - 0.42, 0.84),
                            color=_paler(colour) if odd else colour,
                            linewidth=0,
                            label=work,
                        )
        if len(timeline.bars) <= NUMBERED:
            for bar in timeline.bars:
                # The number of the only micro-batch would tell nothing.
                words = str(bar.micro_batch + 1) if timeline.has_micro_batches else bar.work
                if bar.seconds / longest * AXIS * width < LETTER * (len(words) + 1):
                    continue
                axis.annotate(
                    words,
                    (bar.start + bar.seconds / 2, bar.row),
                    ha="center",
                    va="center",
                    fontsize=6,
                    color=INK if bar.micro_batch % 2 else "white",
                    clip_on=True,
                )
        dress(axis, heading, "", "")
        axis.grid(axis="y", visible=False)
        step = max(1, -(-len(timeline.rows) // 12))
        axis.set_yticks(range(0, len(timeline.rows), step), timeline.rows[::step])
        axis.tick_params(axis="y", length=0, labelsize=7)
        axis.set_ylim(len(timeline.rows) - 0.4, -0.6)
    axes[0].set_xlim(0, longest)
    axes[-1].set_xlabel("time (s)", fontsize=9.5, color=INK)
    finish(figure, axes, look, caption)
    return figure


def _paler(colour: str) -> str:
    """Mixes a colour with two parts of white in three."""
    return "#" + "".join(f"{(int(colour[i : i + 2], 16) + 2 * 255) // 3:02x}" for i in (1, 3, 5))
