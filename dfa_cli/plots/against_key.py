"""Draws a metric against a numeric key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dfa_cli.comparison.comparison import Comparison
from dfa_cli.comparison.group import Group
from dfa_cli.console.values import MISSING, format_value, number
from dfa_cli.errors import DfaError
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_against(result: Comparison, key: str, look: Look = Look()) -> Figure:
    """Draws the metric against a numeric key. A group without the key becomes a horizontal line for comparison.

    Raises `DfaError` when the key is not a number, and when it has only one value.
    """
    key = result.along or result.keys.resolve(key)
    metric = result.metric
    for group in result.groups:
        value = group.key.get(key, MISSING)
        if value is not MISSING and value is not None and number(value) is None:
            raise DfaError(
                f"--x {key}: its value {format_value(value)} is not a number; choose a numeric key"
            )
    points = sorted({value for group in result.groups if (value := number(group.key.get(key))) is not None})
    if len(points) < 2:
        raise DfaError(
            f"--x {key}: it has {len(points) or 'no'} value in these runs, and a line needs two; choose another key"
        )
    panel_groups = panels(result, x_key=key)
    figure, axes = new_figure(result, len(panel_groups), look.title)
    for axis, (heading, groups) in zip(axes, panel_groups, strict=True):
        lines: dict[str, list[Group]] = {}
        for group in groups:
            if group.mean is not None:
                lines.setdefault(series_label(result, group, x_key=key), []).append(group)
        for label, members in lines.items():
            style = series_style(result, members[0], x_key=key)
            if number(members[0].key.get(key)) is None:
                level = (members[0].mean or 0.0) * metric.scale
                axis.axhline(
                    level, color=style["color"], linestyle=style["linestyle"], linewidth=1.2, label=label
                )
                continue
            members.sort(key=lambda group: number(group.key[key]) or 0.0)
            x_values = [float(group.key[key]) for group in members]
            axis.plot(
                x_values,
                [(group.mean or 0.0) * metric.scale for group in members],
                color=style["color"],
                linestyle=style["linestyle"],
                marker=style["marker"],
                markersize=5,
                linewidth=1.7,
                markerfacecolor="white",
                markeredgewidth=1.3,
                label=label,
            )
            fill_band(
                axis, x_values, [group.values for group in members], look.band, metric.scale, style["color"]
            )
        _set_scale(axis, points, look.scale)
        dress(axis, heading, key, axis_title(metric.title))
        if look.start is not None:
            axis.set_ylim(bottom=look.start)
    add_legend_and_caption(figure, axes, caption(result, look.band, result.groups))
    return figure


def _set_scale(axis: Axes, points: Sequence[float], scale: str) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    # The automatic scale is logarithmic only if the largest point is at least 30 times the smallest positive one.
    covers_decades = (
        points[-1] / points[0] >= 30 if points[0] > 0 else len(points) > 3 and points[-1] / points[1] >= 30
    )
    if scale == "linear" or (scale == "auto" and not (covers_decades and points[0] >= 0)):
        return
    if points[0] < 0:
        raise DfaError(f"--scale log: the key has the negative value {points[0]:g}; use --scale linear")
    if points[0] == 0:
        # A logarithmic axis has no zero, so this one is linear up to the smallest positive point.
        axis.set_xscale("symlog", linthresh=points[1], linscale=0.5)
    else:
        axis.set_xscale("log")
    if len(points) <= 8:
        axis.set_xticks(points)
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.xaxis.set_minor_locator(NullLocator())
