"""Draws learning curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfa_cli.comparison.comparison import Comparison
from dfa_cli.comparison.group import Group
from dfa_cli.comparison.statistics import mean
from dfa_cli.errors import DfaError, nearest
from dfa_cli.plots.panels import panels, series_label, series_style
from dfa_cli.plots.style import (
    Look,
    add_legend_and_caption,
    axis_title,
    caption,
    dress,
    fill_band,
    new_figure,
)
from dfa_cli.records.measures import Metric, curve_metric

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_curves(result: Comparison, column: str, look: Look = Look()) -> Figure:
    """Draws a column of `metrics.csv` over epochs: the mean of each group, with a band over its seeds.

    Early stopping ends some runs before others. The mean is drawn while at least half of the runs go on. Raises
    `DfaError` when no completed run has measured the column.
    """
    from matplotlib.ticker import MaxNLocator

    metric = _curve_metric(result, column)
    panel_groups = panels(result)
    figure, axes = new_figure(result, len(panel_groups), look.title)
    drawn: list[Group] = []
    for axis, (heading, groups) in zip(axes, panel_groups, strict=True):
        for group in groups:
            epochs, values = _curve(group, column)
            if not epochs:
                continue
            drawn.append(group)
            style = series_style(result, group)
            means = [metric.scale * mean(epoch_values) for epoch_values in values]
            axis.plot(
                epochs,
                means,
                color=style["color"],
                linestyle=style["linestyle"],
                linewidth=1.7,
                marker=style["marker"],
                markevery=_marker_positions(len(epochs), style["index"]),
                markersize=4.5,
                markerfacecolor="white",
                markeredgewidth=1.2,
                label=series_label(result, group),
            )
            fill_band(axis, epochs, values, look.band, metric.scale, style["color"])
        dress(axis, heading, "epoch", axis_title(metric.title.replace(" at the last epoch", "")))
        axis.margins(x=0.015)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        if look.start is not None:
            axis.set_ylim(bottom=look.start)
    if not drawn:
        raise DfaError(f"no completed run here has measured '{column}' in its metrics.csv")
    add_legend_and_caption(figure, axes, caption(result, look.band, drawn))
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
