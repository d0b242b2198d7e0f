"""Draws the figures of docs/results.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from dfa_cli.comparison.statistics import deviation, mean
from dfa_cli.machine.files import write_atomically
from dfa_cli.plots.style import dress, line_look, save
from dfa_cli.records.find import find
from studies.results import sections
from studies.results.averages import by_seed, numbers
from studies.results.sections import ARMS, BREAKS, CPU, OPTICS
from studies.results.selection import KNOBS, NAMES, SERIES, TERNARY, of_series, pick, settings, with_knob_at
from studies.results.table import Row

ACCURACY = "test accuracy (%)"


def draw(rows: Sequence[Row], folder: Path) -> None:
    """Draw every figure whose experiment is in the table."""
    if chosen := pick(rows, experiment="mnist_width"):
        _write(
            _over_width(chosen, list(SERIES), "2 hidden blocks, width of each"),
            folder / "results_mnist_widths.svg",
        )
    if chosen := pick(rows, experiment="shallow_width"):
        names = [name for name in SERIES if "opu_sim" not in name]
        _write(_over_width(chosen, names, "width of the hidden block"), folder / "results_shallow_width.svg")
    if arms := sections.causal(rows):
        _write(_causal(rows, arms["arms"]), folder / "results_depth.svg")
    if sections.deeper(rows):
        _write(_deeper(rows), folder / "results_deeper.svg")
    if chosen := pick(rows, experiment="noise"):
        _write(
            _noise(chosen, pick(rows, experiment="citation_gcn", data="cora")), folder / "results_noise.svg"
        )


def alignment(outputs: Path, rows: Sequence[Row], folder: Path) -> None:
    """Draw the alignment over the epochs from the records of the experiment `feedback`, with a band over the seeds.

    Only runs with Gaussian feedback matrices and a slice of the projection for each block are drawn.
    """
    wanted = {
        row["identity"]
        for row in rows
        if row["device.distribution"] == "gaussian" and row["rule.share_columns"] == "False"
    }
    runs = [run for run in find([outputs]).runs if run.identity in wanted and run.status == "completed"]
    figure = Figure(figsize=(9.6, 3.2), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(1, 3, sharey=True)
    for axis, (heading, model, spread) in zip(
        panels,
        (
            ("Cora, gcn, feedback over the edges", "gcn", True),
            ("Cora, gcn, labelled nodes only", "gcn", False),
            ("MNIST, fc 2 x 512", "fc", False),
        ),
        strict=True,
    ):
        some = [
            run
            for run in runs
            if run.choices["model"] == model
            and run.config["rule"]["spread_over_edges"] == spread
            and len(run.config["model"]["hidden"]) == 2
        ]
        for i in (1, 2):
            by_epoch: dict[float, list[float]] = {}
            for run in {run.identity: run for run in reversed(some)}.values():  # the newest of equal runs
                pairs = zip(run.curves["epoch"], run.curves.get(f"alignment_{i}", []), strict=False)
                for epoch, value in pairs:
                    if epoch is not None and value is not None:
                        by_epoch.setdefault(epoch, []).append(value)
            draw_line(axis, sorted(by_epoch), by_epoch, i - 1, f"block {i}", 1.0)
        axis.axhline(0.0, color="#888888", linewidth=0.8)
        dress(axis, heading, "epoch", "cosine with the true gradient" if axis is panels[0] else "")
    legend(figure, panels[0])
    _write(figure, folder / "results_alignment.svg")


def _over_width(rows: Sequence[Row], names: Sequence[str], below: str) -> Figure:
    figure = Figure(figsize=(6.4, 3.4), layout="constrained")
    axis = figure.subplots()
    for place, name in enumerate(names):
        by_width: dict[float, list[float]] = {}
        for row in of_series(rows, name):
            by_width.setdefault(float(row["model.hidden"].split()[0]), []).extend(numbers([row]))
        draw_line(axis, sorted(by_width), by_width, place, name.replace("`", ""))
    widths = sorted({float(row["model.hidden"].split()[0]) for row in rows})
    axis.set_xscale("log", base=2)
    axis.set_xticks(widths, [f"{width:g}" for width in widths])
    dress(axis, "", below, ACCURACY)
    legend(figure, axis)
    return figure


def _causal(rows: Sequence[Row], arms: Sequence[str]) -> Figure:
    """Draw the test accuracy over the depth: a panel for each model, a line for each way to show the error."""
    figure = Figure(figsize=(9.6, 3.6), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(1, 3)
    for axis, model in zip(panels, ("gcn", "fc", "gat"), strict=True):
        ideal = pick(rows, model=model, readout="ideal")
        for place, arm in enumerate(arms):
            found = _by_depth(pick(ideal, **ARMS[arm]))
            draw_line(axis, sorted(found), found, place, arm)
        axis.set_xticks([2, 3, 4])
        dress(axis, f"Cora, {model}", "blocks", ACCURACY if axis is panels[0] else "")
    legend(figure, panels[0], 3)
    return figure


def _deeper(rows: Sequence[Row]) -> Figure:
    """Draw `opu_sim - cpu` in points over the depth, for the default encoding and for ternary errors."""
    figure = Figure(figsize=(9.6, 3.2), layout="constrained")
    panels: Sequence[Axes] = figure.subplots(1, 2, sharey=True)
    noisy = [row for row in pick(rows, experiment="depth") if row["readout"] != "ideal"]
    for axis, model in zip(panels, ("fc", "gcn"), strict=True):
        some = pick(noisy, model=model)
        for place, (name, label) in enumerate(((OPTICS, "opu_sim"), (TERNARY, "ternary"))):
            found: dict[float, list[float]] = {}
            for hidden in {row["model.hidden"] for row in some}:
                pair = [
                    by_seed(of_series(pick(some, **{"model.hidden": hidden}), one)) for one in (name, CPU)
                ]
                common = pair[0].keys() & pair[1].keys()
                found[1.0 + len(hidden.split())] = [pair[0][seed] - pair[1][seed] for seed in common]
            draw_line(axis, sorted(found), found, place, label, 1.0)
        axis.axhline(0.0, color="#888888", linewidth=0.8)
        axis.set_xscale("log", base=2)
        axis.set_xticks([2, 3, 4, 8, 16], ["2", "3", "4", "8", "16"])
        dress(axis, f"Cora, {model}", "blocks", "points less cpu" if axis is panels[0] else "")
    legend(figure, panels[0])
    return figure


def _by_depth(rows: Sequence[Row]) -> dict[float, list[float]]:
    """Return the test accuracies by the number of blocks, the last one included."""
    found: dict[float, list[float]] = {}
    for row in rows:
        found.setdefault(1.0 + len(row["model.hidden"].split()), []).extend(numbers([row]))
    return found


def _noise(rows: Sequence[Row], citation: Sequence[Row]) -> Figure:
    figure = Figure(figsize=(9.6, 6.0), layout="constrained")
    panels = figure.subplots(2, 2, sharey=True).flatten()
    floor = numbers(pick(citation, rule="shallow"))
    for axis, (knob, (words, usual)) in zip(panels, KNOBS.items(), strict=True):
        values = [value for value in settings(rows, knob) if value != "auto"]
        for place, data in enumerate(("cora", "mnist")):
            found = {float(value): numbers(with_knob_at(rows, data, knob, value)) for value in values}
            draw_line(axis, sorted(found), found, place, f"{NAMES[data]}, dfa on opu_sim")
            if usually := numbers(with_knob_at(rows, data, knob, usual)):
                axis.axhline(
                    100 * mean(usually) - BREAKS,
                    color=line_look(place)["color"],
                    linewidth=0.9,
                    linestyle=(0, (1, 2 + 3 * place)),
                    label=f"{NAMES[data]}, {BREAKS:g} points below the defaults",
                )
        if floor:
            axis.axhline(
                100 * mean(floor), color="#888888", linestyle="-.", linewidth=1.0, label="Cora, shallow"
            )
        if usual in values:
            axis.axvline(float(usual), color="#888888", linewidth=0.8)
            axis.annotate(
                " default ",
                (float(usual), 0.03),
                xycoords=("data", "axes fraction"),
                fontsize=7.5,
                color="#555555",
            )
        # Values over orders of magnitude get a logarithmic axis, which also has a zero if zero is among the values.
        if float(values[-1]) > 100:
            least = min(float(value) for value in values if float(value) > 0)
            axis.set_xscale("symlog", linthresh=least, linscale=0.5)
            axis.set_xlim(left=float(values[0]) * 0.8 if float(values[0]) else -0.15 * least)
            axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xticks([float(value) for value in values], values)
        dress(axis, "", words, ACCURACY if axis in panels[::2] else "")
    legend(figure, panels[0], 3)
    return figure


def draw_line(
    axis: Axes,
    at: Sequence[float],
    values: dict[float, list[float]],
    place: int,
    label: str,
    scale: float = 100.0,
) -> str:
    """Draw the mean with a band of one standard deviation, in the style of series number `place`. Return its colour."""
    at = [x for x in at if values[x]]
    middle = [scale * mean(values[x]) for x in at]
    spread = [scale * (deviation(values[x]) or 0.0) for x in at]
    look = line_look(place)
    axis.plot(at, middle, label=label, **look)
    low, high = ([m + sign * s for m, s in zip(middle, spread, strict=True)] for sign in (-1, 1))
    axis.fill_between(at, low, high, color=look["color"], alpha=0.16, linewidth=0)
    return look["color"]


def legend(figure: Figure, axis: Axes, columns: int = 4) -> None:
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=8.5)


def _write(figure: Figure, path: Path) -> None:
    write_atomically(path, save(figure, path.suffix))
