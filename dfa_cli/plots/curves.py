"""Draws learning curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfa_cli.comparison.comparison import Comparison
from dfa_cli.comparison.group import Group
from dfa_cli.comparison.statistics import mean
from dfa_cli.errors import DfaError, nearest
from dfa_cli.plots.panels import Arrangement
from dfa_cli.plots.style import (
    Look,
    axis_title,
    caption,
    dress,
    fill_across,
    fill_band,
    finish,
    line_look,
    new_figure,
    reference_look,
    whole_ticks,
)
from dfa_cli.records.measures import Metric, curve_metric

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_curves(result: Comparison, column: str, look: Look = Look()) -> Figure:
    """Draws a column of `metrics.csv` over epochs: the mean of each group, with a band over its seeds.

    Early stopping ends some runs before others. The mean is drawn while at least half of the runs go on. Raises
    `DfaError` when no completed run has measured the column.
    """
    metric = _curve_metric(result, column)
    arranged = Arrangement(result, reference=look.reference)
    panels = arranged.panels()
    figure, axes = new_figure(look, len(panels), arranged.labels)
    drawn: list[Group] = []
    references = 0
    for axis, (heading, groups) in zip(axes, panels, strict=True):
        shown: list[float] = []
        for group in groups:
            epochs, values = _curve(group, column)
            if not epochs:
                continue
            drawn.append(group)
            label = arranged.label(group)
            if arranged.is_reference(group):
                last = [value for run in group.counted if (value := metric.value_of(run)) is not None]
                style = reference_look(references)
                axis.axhline(metric.scale * mean(last), label=f"{label}, last epoch", **style)
                fill_across(axis, last, look.band, metric)
                references += 1
                continue
            style = line_look(number := arranged.number(group))
            means = [metric.scale * mean(epoch_values) for epoch_values in values]
            axis.plot(epochs, means, label=label, markevery=_marker_positions(len(epochs), number), **style)
            fill_band(axis, epochs, values, look.band, metric, style["color"])
            shown += [value for epoch_values in values for value in epoch_values]
        dress(axis, heading, "epoch", axis_title(metric.title.replace(" at the last epoch", "")))
        axis.margins(x=0.015)
        whole_ticks(axis.xaxis)
        if not metric.unit:
            whole_ticks(axis.yaxis, shown)
        if look.start is not None:
            axis.set_ylim(bottom=look.start)
    if not drawn:
        raise DfaError(f"no completed run here has measured '{column}' in its metrics.csv")
    finish(figure, axes, look, caption(result, look, drawn))
    return figure


def _curve_metric(result: Comparison, column: str) -> Metric:
    known: dict[str, None] = {}
    for group in result.groups:
        for run in group.counted:
            if column in run.curves:
                return curve_metric(column)
            known.update(dict.fromkeys(run.curves))
    names = [name for name in known if name != "epoch"]
    if not names:
        raise DfaError(
            "no completed run here has a metrics.csv with measurements, so there are no curves to draw"
        )
    order = dict.fromkeys([*nearest(column, names), *names])
    raise DfaError(f"unknown metric '{column}' for a learning curve; metrics.csv has {', '.join(order)}")


def _curve(group: Group, column: str) -> tuple[list[float], list[list[float]]]:
    """Returns the epochs that at least half of the runs have measured, and the values of these runs in each epoch."""
    by_epoch: dict[float, list[float]] = {}
    runs = 0
    for run in group.counted:
        pairs = zip(run.curves.get("epoch", []), run.curves.get(column, []), strict=False)
        measured = [(epoch, value) for epoch, value in pairs if epoch is not None and value is not None]
        runs += bool(measured)
        for epoch, value in measured:
            by_epoch.setdefault(epoch, []).append(value)
    epochs = [epoch for epoch in sorted(by_epoch) if 2 * len(by_epoch[epoch]) >= runs]
    return epochs, [by_epoch[epoch] for epoch in epochs]


def _marker_positions(count: int, shift: int) -> tuple[int, int]:
    """Returns the position of the first marker and the step between markers, for about eight markers a line.

    Each line has another `shift`, so that the markers of different lines do not coincide.
    """
    step = max(count // 8, 1)
    return (shift * step // 4) % step, step
