"""Draws bars."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dfa_cli.comparison.comparison import Comparison
from dfa_cli.console.table import truncate
from dfa_cli.errors import DfaError
from dfa_cli.plots.panels import series_label, series_style
from dfa_cli.plots.style import (
    INK,
    LONGEST,
    Look,
    add_legend_and_caption,
    axis_title,
    band_ends,
    caption,
    dress,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_bars(result: Comparison, look: Look = Look()) -> Figure:
    """Draws a horizontal bar for each group: the mean with its band, each seed as a dot, and the number beside it."""
    groups = [group for group in result.groups if group.mean is not None]
    if not groups:
        raise DfaError("no completed run has the metric, so there are no bars to draw")
    metric = result.metric
    figure, (axis,) = new_figure(result, 1, look.title, height=0.9 + 0.42 * len(groups))
    highest = max(max(group.values) for group in groups) * metric.scale
    for i, group in enumerate(groups):
        style = series_style(result, group)
        middle = (group.mean or 0.0) * metric.scale
        axis.barh(
            i,
            middle,
            height=0.66,
            color=_lighten(style["color"]),
            edgecolor=style["color"],
            hatch=style["hatch"],
            linewidth=1.0,
        )
        ends = band_ends(group.values, look.band)
        if ends:
            low, high = (end * metric.scale for end in ends)
            axis.errorbar(
                middle, i, xerr=[[middle - low], [high - middle]], color=INK, capsize=3.5, linewidth=1.2
            )
        if group.n > 1:
            dots = [value * metric.scale for value in group.values]
            axis.plot(
                dots,
                [i + 0.18] * len(dots),
                "o",
                color="white",
                markeredgecolor=INK,
                markersize=3,
                markeredgewidth=0.7,
                zorder=4,
            )
            highest = max(highest, *(end * metric.scale for end in ends or ()))
        spread = f" ± {metric.show(group.std)}" if group.std is not None else ""
        axis.annotate(
            f"{metric.show(group.mean)}{spread}  (n = {group.n})",
            (1.02, i),
            xycoords=("axes fraction", "data"),
            va="center",
            color=INK,
            fontsize=8.5,
        )
    axis.set_yticks(
        range(len(groups)), [truncate(series_label(result, group, panel=False), LONGEST) for group in groups]
    )
    axis.invert_yaxis()
    dress(axis, "", axis_title(metric.title), "")
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    if look.start is not None:
        axis.set_xlim(left=look.start)
        axis.set_xlabel(axis_title(metric.title) + f"  (axis begins at {look.start:g})")
    if metric.unit == "%":
        # The axis ends just beyond the highest value.
        axis.set_xlim(
            right=min(100.0, highest * 1.02)
            if look.start is None
            else highest + 0.05 * (highest - look.start)
        )
    add_legend_and_caption(figure, [axis], caption(result, look.band, groups), legend=False)
    return figure


def _lighten(colour: str) -> str:
    """Mixes a colour with an equal part of white.

    An alpha value would hide the hatching in SVG, where it is drawn over the same colour.
    """
    return "#" + "".join(f"{(int(colour[i : i + 2], 16) + 255) // 2:02x}" for i in (1, 3, 5))
