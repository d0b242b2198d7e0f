"""Says from the experiment `drift` how long the optics have to hold still: the table in docs/opu.md, and its figure."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from dfa_cli.comparison.statistics import mean
from dfa_cli.console.values import duration
from dfa_cli.devices.optics import seconds_of_a_vector
from dfa_cli.plots.style import dress
from studies.results.averages import average, numbers, percent, points_between
from studies.results.figures import ACCURACY, draw_line, legend
from studies.results.markdown import table
from studies.results.sections import BREAKS
from studies.results.selection import pick
from studies.results.table import Row

TAU, WALK, JITTER = (f"device.drift.{name}" for name in ("tau", "walk", "jitter"))
WORDS = {
    TAU: "coherence time of the medium (steps)",
    WALK: "walk of the reference (radians / √step)",
    JITTER: "jitter of the reference (radians r.m.s.)",
}
DEPTHS = {"64": "2 blocks", "64 64 64": "4 blocks"}


def at_depth(rows: Sequence[Row], hidden: str, device: str = "opu_sim") -> list[Row]:
    """Return the runs without drift of a network with these hidden blocks."""
    drift = {"drift": "none"} if device == "opu_sim" else {}
    return pick(rows, experiment="drift", device=device, **{"model.hidden": hidden}, **drift)


def with_drift(rows: Sequence[Row], hidden: str, key: str) -> dict[str, list[Row]]:
    """Return the runs of each value of a key of `device.drift`, from small to large; its other keys are zero."""
    drifting = [
        row for row in pick(rows, experiment="drift", **{"model.hidden": hidden}) if row[key] not in ("", "0")
    ]
    return {
        value: pick(drifting, **{key: value}) for value in sorted({row[key] for row in drifting}, key=float)
    }


def tolerated(rows: Sequence[Row], hidden: str, key: str) -> str | None:
    """Return the strongest drift up to which the mean accuracy stays within `BREAKS` points of that without drift."""
    without_drift = average(at_depth(rows, hidden))
    found = list(with_drift(rows, hidden, key).items())
    last = None
    for value, drifting in found[::-1] if key == TAU else found:  # from weak to strong
        if 100 * (without_drift - average(drifting)) > BREAKS:
            break
        last = value
    return last


def text(rows: Sequence[Row]) -> str:
    """Return the table and the tolerances as Markdown, or a sentence that there are no runs yet."""
    if not pick(rows, experiment="drift"):
        return "This experiment has not been run yet."
    lines = []
    for words, cells in (
        ("`cpu`, no optics", [at_depth(rows, hidden, "cpu") for hidden in DEPTHS]),
        ("`opu_sim` without drift", [at_depth(rows, hidden) for hidden in DEPTHS]),
        *(
            (f"`{key.removeprefix('device.')}={value}`", [with_drift(rows, h, key)[value] for h in DEPTHS])
            for key in WORDS
            for value in with_drift(rows, "64", key)
        ),
    ):
        line = [words]
        for hidden, runs in zip(DEPTHS, cells, strict=True):
            line += [percent(runs), _difference(runs, at_depth(rows, hidden))]
        lines.append(line)
    heads = [
        "test accuracy, %",
        *(f"{blocks}{more}" for blocks in DEPTHS.values() for more in ("", " − without drift")),
    ]
    seeds = min(len(drifting) for hidden in DEPTHS for drifting in with_drift(rows, hidden, TAU).values())
    return "\n\n".join(
        [
            table(heads, lines),
            f"Mean and standard deviation over {seeds} seeds. The difference is taken seed by seed, with its 95 % "
            f"interval.\nThe accuracy stays within {BREAKS:g} points of that without drift:",
            "\n".join(f"- with {blocks}, {_tolerances(rows, hidden)}." for hidden, blocks in DEPTHS.items()),
        ]
    )


def _tolerances(rows: Sequence[Row], hidden: str) -> str:
    tau, walk, jitter = (tolerated(rows, hidden, key) for key in WORDS)
    unit = "radian" if jitter is not None and float(jitter) == 1 else "radians"
    return (
        (
            "at no coherence time that was tried"
            if tau is None
            else f"from a coherence time of {tau} steps on{_of_light(rows, hidden, tau)}"
        )
        + ("; at no walk" if walk is None else f"; up to a walk of {walk} radians per root step")
        + ("; at no jitter" if jitter is None else f"; up to a jitter of {jitter} {unit}")
    )


def _of_light(rows: Sequence[Row], hidden: str, tau: str) -> str:
    """Write how long so many steps of modelled light take. On a graph a step is an epoch."""
    frames = [
        float(row["frames"]) / float(row["last_epoch"])
        for row in with_drift(rows, hidden, TAU)[tau]
        if row["frames"] and row["last_epoch"]
    ]
    if not frames:
        return ""
    columns = sum(map(int, hidden.split()))
    return f", {duration(float(tau) * mean(frames) * seconds_of_a_vector(columns, patterns=1))} of modelled light"


def _difference(runs: Sequence[Row], without_drift: Sequence[Row]) -> str:
    """Write the difference in points with its 95 % interval. The runs without drift have none to themselves."""
    if runs == without_drift:
        return ""
    points, ends = points_between(runs, without_drift)
    return f"{points:+.1f}" + ("" if ends is None else f" [{ends[0]:+.1f}, {ends[1]:+.1f}]")


def figure(rows: Sequence[Row]) -> Figure:
    """Draw the accuracy against each kind of drift, with a line for each depth."""
    drawn = Figure(figsize=(9.6, 3.4), layout="constrained")
    panels: Sequence[Axes] = drawn.subplots(1, 3, sharey=True)
    for axis, (key, words) in zip(panels, WORDS.items(), strict=True):
        for place, (hidden, blocks) in enumerate(DEPTHS.items()):
            found = {
                float(value): numbers(drifting) for value, drifting in with_drift(rows, hidden, key).items()
            }
            line = draw_line(axis, sorted(found), found, place, f"{blocks}, drifting")
            for device, dashes in (("opu_sim", "--"), ("cpu", ":")):
                if without_drift := numbers(at_depth(rows, hidden, device)):
                    axis.axhline(
                        100 * mean(without_drift),
                        color=line,
                        linestyle=dashes,
                        linewidth=1.0,
                        label=f"{blocks}, {'without drift' if device == 'opu_sim' else 'cpu'}",
                    )
        values = list(with_drift(rows, "64", key))
        axis.set_xscale("log")
        axis.set_xticks([float(value) for value in values], values)
        axis.xaxis.set_minor_locator(NullLocator())
        dress(axis, "", words, ACCURACY if axis is panels[0] else "")
    legend(drawn, panels[0], 3)
    return drawn
