"""Draws a metric against a numeric key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dfa_cli.comparison.comparison import Comparison
from dfa_cli.comparison.group import Group
from dfa_cli.comparison.grouping import shortest_names
from dfa_cli.console.values import MISSING, format_value
from dfa_cli.errors import DfaError
from dfa_cli.plots.panels import Arrangement
from dfa_cli.plots.style import (
    Look,
    axis_title,
    caption,
    dress,
    fill_across,
    fill_band,
    finish,
    is_narrow,
    line_look,
    new_figure,
    place,
    reference_look,
    whole_ticks,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_against(result: Comparison, key: str, look: Look = Look()) -> Figure:
    """Draws the metric against a numeric key.

    A group without the key, or with a value of it that is no number, becomes a horizontal line for comparison. Raises
    `DfaError` when the key has fewer than two numbers.
    """
    key = result.along or result.keys.resolve(key)
    metric = result.metric
    arranged = Arrangement(result, key, look.reference)
    points = _points(result, key, arranged)
    panels = arranged.panels()
    figure, axes = new_figure(look, len(panels), arranged.labels)
    for axis, (heading, groups) in zip(axes, panels, strict=True):
        lines: dict[str, list[Group]] = {}
        for group in groups:
            if group.mean is not None and not arranged.is_reference(group):
                lines.setdefault(arranged.label(group), []).append(group)
        for label, members in lines.items():
            style = line_look(arranged.number(members[0]))
            at = {
                x: group
                for group in sorted(members, key=lambda group: place(group.key.get(key)) or 0.0)
                if (x := place(group.key.get(key))) is not None
            }
            if at:
                means = [(group.mean or 0.0) * metric.scale for group in at.values()]
                axis.plot(list(at), means, label=label, **style)
                values = [group.values for group in at.values()]
                fill_band(axis, list(at), values, look.band, metric, style["color"])
            for group in members:
                if place(group.key.get(key)) is None:
                    # A line across beside a curve of the same colour has other dashes.
                    dashes = line_look(arranged.number(group) + 2 * bool(at))["linestyle"]
                    axis.axhline(
                        (group.mean or 0.0) * metric.scale,
                        color=style["color"],
                        linestyle=dashes,
                        linewidth=1.2,
                        label=_label_across(label, group, key, result, bool(at)),
                    )
        for i, group in enumerate(arranged.references(groups)):
            level = (group.mean or 0.0) * metric.scale
            axis.axhline(level, label=arranged.label(group), **reference_look(i))
            fill_across(axis, group.values, look.band, metric)
        _set_scale(axis, points, look.scale)
        if axis.get_xscale() == "linear":
            whole_ticks(axis.xaxis, points)
            if is_narrow(figure):
                axis.locator_params(axis="x", nbins=4)
        if not metric.unit:
            whole_ticks(axis.yaxis, (value for group in groups for value in group.values))
        dress(axis, heading, key, axis_title(metric.title))
        if look.start is not None:
            axis.set_ylim(bottom=look.start)
    finish(figure, axes, look, caption(result, look, result.groups))
    return figure


def _points(result: Comparison, key: str, arranged: Arrangement) -> list[float]:
    """Returns the numbers that the key has in the rows that are drawn as points.

    Raises `DfaError` for fewer than two, and for a reference that would be several lines with the same label.
    """
    seen: dict[tuple[str, ...], Group] = {}
    for group in arranged.references(result.groups):
        parts = tuple(format_value(group.key[other]) for other in result.columns if other != key)
        if parts in seen:
            raise DfaError(
                f'--reference "{arranged.reference}" has several values of {key}, and a line across is one row; '
                f'type --reference "{arranged.reference} and {key}={format_value(group.key[key])}"'
            )
        seen[parts] = group
    drawn = [group for group in result.groups if not arranged.is_reference(group)]
    points = sorted({value for group in drawn if (value := place(group.key.get(key))) is not None})
    if len(points) < 2:
        for group in drawn:
            value = group.key.get(key, MISSING)
            if value is not MISSING and value is not None and place(value) is None:
                raise DfaError(
                    f"--x {key}: its value {format_value(value)} is not a number; choose a numeric key"
                )
        raise DfaError(
            f"--x {key}: it has {len(points) or 'no'} value in these runs, and a line needs two; choose another key"
        )
    return points


def _label_across(label: str, group: Group, key: str, result: Comparison, has_points: bool) -> str:
    """Names a row that has no place on the x axis: `bp`, or `bp, no dampening` beside other rows of `bp`."""
    value = group.key.get(key, MISSING)
    name = shortest_names([*dict.fromkeys([*result.columns, key])])[key]
    if value is MISSING and not has_points:
        return label
    words = f"no {name}" if value is MISSING else f"{name} {format_value(value)}"
    return words if label == "all runs" else f"{label}, {words}"


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
