"""Draws bars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dfa_cli.comparison.comparison import Comparison
from dfa_cli.comparison.group import Group
from dfa_cli.errors import DfaError
from dfa_cli.plots.panels import Arrangement
from dfa_cli.plots.style import (
    INK,
    Look,
    axis_title,
    band_ends,
    bar_hatch,
    caption,
    dress,
    finish,
    is_narrow,
    line_look,
    new_figure,
    reference_look,
    shorten,
    whole_ticks,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_bars(result: Comparison, look: Look = Look()) -> Figure:
    """Draws a horizontal bar for each group: the mean with its band, each seed as a dot, and the number beside it."""
    arranged = Arrangement(result, reference=look.reference)
    measured = [group for group in result.groups if group.mean is not None]
    groups = [group for group in measured if not arranged.is_reference(group)]
    if not groups:
        raise DfaError("no completed run has the metric, so there are no bars to draw")
    metric = result.metric
    labels = [arranged.label(group, panel=False) for group in groups]
    figure, (axis,) = new_figure(look, 1, labels, height=0.9 + 0.42 * len(groups), is_fixed=True)
    highest = max(max(group.values) for group in measured) * metric.scale
    says_n = not is_narrow(figure) or len({group.n for group in groups}) > 1
    colours: Counter[str] = Counter()
    for i, group in enumerate(groups):
        number = arranged.number(group)
        colour = line_look(number)["color"]
        middle = (group.mean or 0.0) * metric.scale
        axis.barh(
            i,
            middle,
            height=0.66,
            color=_lighten(colour),
            edgecolor=colour,
            hatch=bar_hatch(number, colours[colour]),
            linewidth=1.0,
        )
        colours[colour] += 1
        ends = band_ends(group.values, look.band, metric)
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
        axis.annotate(
            _in_words(result, group) + (f"  (n = {group.n})" if says_n else ""),
            (1.02, i),
            xycoords=("axes fraction", "data"),
            va="center",
            color=INK,
            fontsize=8.5,
        )
    for i, group in enumerate(arranged.references(measured)):
        _draw_reference(axis, i, result, group, groups)
    axis.set_yticks(range(len(groups)), shorten(labels))
    axis.invert_yaxis()
    dress(axis, "", axis_title(metric.title), "")
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    if not metric.unit:
        whole_ticks(axis.xaxis, (value for group in measured for value in group.values))
    if look.start is not None:
        axis.set_xlim(left=look.start)
        axis.set_xlabel(f"{axis.get_xlabel()}\n(axis begins at {look.start:g})")
    if metric.unit == "%":
        # The axis ends just beyond the highest value.
        axis.set_xlim(
            right=min(100.0, highest * 1.02)
            if look.start is None
            else highest + 0.05 * (highest - look.start)
        )
    finish(figure, [axis], look, caption(result, look, measured, bars=True))
    return figure


def _in_words(result: Comparison, group: Group) -> str:
    spread = f" ± {result.metric.show(group.std)}" if group.std is not None else ""
    return f"{result.metric.show(group.mean)}{spread}"


def _draw_reference(
    axis: Axes, i: int, result: Comparison, reference: Group, groups: Sequence[Group]
) -> None:
    """Draws line number `i` across the bars of the same data set."""
    level = (reference.mean or 0.0) * result.metric.scale
    label = f"{reference.label([key for key in reference.key if key not in result.columns])}: "
    rows = [at for at, group in enumerate(groups) if group.data == reference.data]
    if rows:
        ends = [rows[0] - 0.45, rows[-1] + 0.45]
        axis.plot([level, level], ends, label=label + _in_words(result, reference), **reference_look(i))


def _lighten(colour: str) -> str:
    """Mixes a colour with an equal part of white.

    An alpha value would hide the hatching in SVG, where it is drawn over the same colour.
    """
    return "#" + "".join(f"{(int(colour[i : i + 2], 16) + 255) // 2:02x}" for i in (1, 3, 5))
