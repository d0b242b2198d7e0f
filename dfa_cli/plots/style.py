"""Figures of a comparison: learning curves, bars, a metric against a key; for screens, papers and
black-and-white print.

Colours are those of Okabe and Ito (2008), which all kinds of colour vision tell apart; lines differ in
their dashes and markers too, bars in their hatching, so that print needs no colour.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfa_cli.errors import DfaError, nearest, one_of
from dfa_cli.results.compare import Comparison
from dfa_cli.results.grid import cut
from dfa_cli.results.group import Group
from dfa_cli.results.grouping import short
from dfa_cli.results.metrics import Metric, curve_metric
from dfa_cli.results.render import spoken_split
from dfa_cli.results.statistics import deviation, interval, mean
from dfa_cli.results.values import MISSING, number, text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
DASHES = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (5, 1.4, 1.2, 1.4)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HATCHES = ("", "//", "..", "xx", "\\\\", "--", "++", "oo")
INK, PALE = "#222222", "#dddddd"

KINDS = ("curves", "bars", "key")
BANDS = {
    "std": "± 1 standard deviation",
    "ci": "95 % confidence interval",
    "range": "lowest to highest",
    "none": "",
}
SUFFIXES = (".png", ".svg", ".pdf")
LONGEST = 36  # characters of a label; a longer one would leave no room for the figure
MOST_SERIES = 8  # in one panel; more are spread over panels where a column allows it


def kind_of(kind: str | None, x: str | None) -> str:
    """The kind of figure that the options ask for. Raises `DfaError` when they contradict each other."""
    if kind is None:
        return "key" if x else "curves"
    if kind not in KINDS:
        raise DfaError(f"--kind: {one_of(kind, KINDS)}")
    if (kind == "key") != bool(x):
        raise DfaError("--kind key and --x KEY go together: the key is what the metric is drawn against")
    return kind


def check(path: Path, band: str, scale: str) -> None:
    """Raises `DfaError` for a file type, band or scale that there is not."""
    if path.suffix.lower() not in SUFFIXES:
        raise DfaError(f"--out {path}: expected a name that ends in .png, .svg or .pdf")
    if band not in BANDS:
        raise DfaError(f"--band: {one_of(band, BANDS)}")
    if scale not in ("auto", "linear", "log"):
        raise DfaError(f"--scale: {one_of(scale, ('auto', 'linear', 'log'))}")


def curves(
    result: Comparison,
    column: str,
    *,
    band: str = "std",
    start: float | None = None,
    title: str | None = None,
) -> Figure:
    """A column of metrics.csv over epochs: the mean of each group, with a band over its seeds.

    Early stopping ends some curves before others: a mean goes on while at least half of its runs do.
    """
    from matplotlib.ticker import MaxNLocator

    metric = _curve_metric(result, column)
    panels = _panels(result)
    figure, axes = _figure(result, len(panels), title)
    drawn: list[Group] = []
    for axis, (heading, groups) in zip(axes, panels, strict=True):
        for group in groups:
            at, values = _curve(group, column)
            if not at:
                continue
            drawn.append(group)
            style = _style(result, group)
            means = [metric.scale * mean(some) for some in values]
            axis.plot(
                at,
                means,
                color=style["color"],
                linestyle=style["linestyle"],
                linewidth=1.7,
                marker=style["marker"],
                markevery=_sparse(len(at), style["index"]),
                markersize=4.5,
                markerfacecolor="white",
                markeredgewidth=1.2,
                label=_label(result, group),
            )
            _fill(axis, at, values, band, metric.scale, style["color"])
        dress(axis, heading, "epoch", _axis_title(metric.title.replace(" at the last epoch", "")))
        axis.margins(x=0.015)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        if start is not None:
            axis.set_ylim(bottom=start)
    if not drawn:
        raise DfaError(f"no completed run here has measured '{column}' in its metrics.csv")
    _finish(figure, axes, _below(result, band, drawn))
    return figure


def bars(
    result: Comparison, *, band: str = "std", start: float | None = None, title: str | None = None
) -> Figure:
    """A horizontal bar a group, with its spread, every seed as a dot, and the figure beside it."""
    groups = [group for group in result.groups if group.mean is not None]
    if not groups:
        raise DfaError("no completed run has the metric, so there are no bars to draw")
    metric = result.metric
    figure, (axis,) = _figure(result, 1, title, height=0.9 + 0.42 * len(groups))
    highest = max(max(group.values) for group in groups) * metric.scale
    for i, group in enumerate(groups):
        style = _style(result, group)
        middle = (group.mean or 0.0) * metric.scale
        axis.barh(
            i,
            middle,
            height=0.66,
            color=_pale(style["color"]),
            edgecolor=style["color"],
            hatch=style["hatch"],
            linewidth=1.0,
        )
        ends = _ends(group.values, band)
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
        range(len(groups)), [cut(_label(result, group, panel=False), LONGEST) for group in groups]
    )
    axis.invert_yaxis()
    dress(axis, "", _axis_title(metric.title), "")
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    if start is not None:
        axis.set_xlim(left=start)
        axis.set_xlabel(_axis_title(metric.title) + f"  (axis begins at {start:g})")
    if metric.unit == "%":
        axis.set_xlim(
            right=min(100.0, highest * 1.02) if start is None else highest + 0.05 * (highest - start)
        )
    _finish(figure, [axis], _below(result, band, groups), legend=False)
    return figure


def against(
    result: Comparison,
    key: str,
    *,
    band: str = "std",
    scale: str = "auto",
    start: float | None = None,
    title: str | None = None,
) -> Figure:
    """The metric against a numeric key; groups that have no such key are level lines to compare with.

    Raises `DfaError` when the key is not a number or does not vary.
    """
    key = result.along or result.keys.resolve(key)
    metric = result.metric
    for group in result.groups:
        held = group.key.get(key, MISSING)
        if held is not MISSING and held is not None and number(held) is None:
            raise DfaError(f"--x {key}: its value {text(held)} is not a number; choose a numeric key")
    points = sorted({value for group in result.groups if (value := number(group.key.get(key))) is not None})
    if len(points) < 2:
        raise DfaError(f"--x {key}: it has {len(points) or 'no'} value in these runs, and a line needs two")
    panels = _panels(result, leave=key)
    figure, axes = _figure(result, len(panels), title)
    for axis, (heading, groups) in zip(axes, panels, strict=True):
        lines: dict[str, list[Group]] = {}
        for group in groups:
            if group.mean is not None:
                lines.setdefault(_label(result, group, leave=key), []).append(group)
        for label, members in lines.items():
            style = _style(result, members[0], leave=key)
            if number(members[0].key.get(key)) is None:
                level = (members[0].mean or 0.0) * metric.scale
                axis.axhline(
                    level, color=style["color"], linestyle=style["linestyle"], linewidth=1.2, label=label
                )
                continue
            members.sort(key=lambda group: number(group.key[key]) or 0.0)
            at = [float(group.key[key]) for group in members]
            axis.plot(
                at,
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
            _fill(axis, at, [group.values for group in members], band, metric.scale, style["color"])
        _set_scale(axis, points, scale)
        dress(axis, heading, key, _axis_title(metric.title))
        if start is not None:
            axis.set_ylim(bottom=start)
    _finish(figure, axes, _below(result, band, result.groups))
    return figure


def save(figure: Figure, suffix: str) -> bytes:
    """The figure as a file; the same figure gives the same bytes."""
    import matplotlib

    kind = suffix.lower().lstrip(".")
    file = io.BytesIO()
    # svg.fonttype none would leave the font to the reader's machine; 42 keeps text selectable in PDF
    with (
        warnings.catch_warnings(),
        matplotlib.rc_context({"svg.hashsalt": "dfa", "pdf.fonttype": 42, "hatch.linewidth": 0.6}),
    ):
        metadata: dict[str, Any] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # drawn as a box, as everywhere
        figure.savefig(file, format=kind, dpi=200, metadata=metadata, bbox_inches="tight", pad_inches=0.08)
    return file.getvalue()


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
    """Epochs and, for each, the values of the runs that measured it: where at least half of them did."""
    by_epoch: dict[float, list[float]] = {}
    runs = 0
    for run in group.counted:
        pairs = zip(run.curves.get("epoch", []), run.curves.get(column, []), strict=False)
        measured = [(epoch, value) for epoch, value in pairs if epoch is not None and value is not None]
        runs += bool(measured)
        for epoch, value in measured:
            by_epoch.setdefault(epoch, []).append(value)
    at = [epoch for epoch in sorted(by_epoch) if 2 * len(by_epoch[epoch]) >= runs]
    return at, [by_epoch[epoch] for epoch in at]


def _fill(
    axis: Any, at: Sequence[float], values: Iterable[Sequence[float]], band: str, scale: float, color: str
) -> None:
    """The band over the seeds, where there is one: `values` are those of each place in `at`."""
    ends = ((x, _ends(some, band)) for x, some in zip(at, values, strict=True))
    known = [(x, scale * pair[0], scale * pair[1]) for x, pair in ends if pair]
    if known:
        axis.fill_between(*zip(*known, strict=True), color=color, alpha=0.16, linewidth=0)


def _ends(values: Sequence[float], band: str) -> tuple[float, float] | None:
    if len(values) < 2 or band == "none":
        return None
    if band == "range":
        return min(values), max(values)
    if band == "ci":
        return interval(values)
    middle, spread = mean(values), deviation(values) or 0.0
    return middle - spread, middle + spread


def _panel_key(result: Comparison, leave: str | None) -> str | None:
    """The column that gets a panel for each of its values: the data set, or the first where lines are too
    many."""
    columns = [key for key in result.columns if key != leave]
    if "data" in columns:
        return "data" if len(columns) > 1 else None
    series = len({tuple(text(group.key[key]) for key in columns) for group in result.groups})
    return columns[0] if series > MOST_SERIES and len(columns) > 1 else None


def _panels(result: Comparison, leave: str | None = None) -> list[tuple[str, list[Group]]]:
    """Headings and the groups below them."""
    key = _panel_key(result, leave)
    if key is None:
        return [("", list(result.groups))]
    panels: dict[str, list[Group]] = {}
    for group in result.groups:
        panels.setdefault(text(group.key[key]), []).append(group)
    return [(f"{short(result.columns)[key]} {name}", groups) for name, groups in panels.items()]


def _label(result: Comparison, group: Group, leave: str | None = None, panel: bool = True) -> str:
    """The group in a legend, without what stands beside the figure anyway."""
    shown = {*result.columns} - {leave, _panel_key(result, leave) if panel else None}
    return group.label(without=[key for key in group.key if key not in shown])


def _style(result: Comparison, group: Group, leave: str | None = None) -> dict[str, Any]:
    """One look for one label, the same in all panels."""
    labels = list(dict.fromkeys(_label(result, one, leave) for one in result.groups))
    i = labels.index(_label(result, group, leave))
    return {
        "index": i,
        "color": COLOURS[i % len(COLOURS)],
        "linestyle": DASHES[(i + i // len(COLOURS)) % len(DASHES)],
        "marker": MARKERS[i % len(MARKERS)],
        "hatch": HATCHES[i % len(HATCHES)],
    }


def _pale(colour: str) -> str:
    """Half way to white; an alpha value would hide the hatching in SVG, which draws it over an equal
    colour."""
    return "#" + "".join(f"{(int(colour[i : i + 2], 16) + 255) // 2:02x}" for i in (1, 3, 5))


def _sparse(count: int, shift: int) -> tuple[int, int]:
    """About eight markers a line, not all lines' at the same place."""
    step = max(count // 8, 1)
    return (shift * step // 4) % step, step


def _figure(
    result: Comparison, panels: int, title: str | None, height: float = 3.4
) -> tuple[Figure, list[Axes]]:
    """An empty figure with room for its panels and for the labels beside them."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    across = min(panels, 3)
    down = math.ceil(panels / across)
    longest = max(min(len(group.label()), LONGEST) for group in result.groups)
    width = (5.6 if panels == 1 else 3.6 * across) + 0.07 * max(longest - 14, 0)
    figure = Figure(figsize=(width, height * down), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).flatten().tolist()
    for spare in axes[panels:]:
        spare.remove()
    if title:
        figure.suptitle(title, fontsize=11, color=INK, parse_math=False)
    return figure, axes[:panels]


def dress(axis: Axes, heading: str, below: str, beside: str) -> None:
    """Grid, spines and labels as all figures of this project have them; `heading` stands left above the panel."""
    axis.set_axisbelow(True)
    axis.grid(color=PALE, linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color("#888888")
    axis.tick_params(colors=INK, labelsize=8.5)
    axis.set_xlabel(below, fontsize=9.5, color=INK, parse_math=False)
    axis.set_ylabel(beside, fontsize=9.5, color=INK, parse_math=False)
    axis.set_title(cut(heading, LONGEST), fontsize=9.5, color=INK, loc="left", parse_math=False)


def _set_scale(axis: Axes, points: Sequence[float], scale: str) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    wide = points[-1] / points[0] >= 30 if points[0] > 0 else len(points) > 3 and points[-1] / points[1] >= 30
    if scale == "linear" or (scale == "auto" and not (wide and points[0] >= 0)):
        return
    if points[0] < 0:
        raise DfaError(f"--scale log: the key has the negative value {points[0]:g}; use --scale linear")
    if points[0] == 0:
        axis.set_xscale("symlog", linthresh=points[1], linscale=0.5)
    else:
        axis.set_xscale("log")
    if len(points) <= 8:
        axis.set_xticks(points)
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.xaxis.set_minor_locator(NullLocator())


def _axis_title(words: str) -> str:
    return words.replace(", %", " (%)")


def _below(result: Comparison, band: str, groups: Sequence[Group]) -> str:
    """The line under the figure: what all have in common, the split, what the band is."""
    shared = ", ".join(
        text(held) for key, held in result.constant.items() if key in ("data", "model", "rule", "device")
    )
    parts = [cut(shared, 2 * LONGEST)] if shared else []
    if len(result.splits) == 1:
        parts.append(cut(spoken_split(result), 2 * LONGEST))
    counts = sorted({group.n for group in groups if group.n})
    if counts and counts[-1] > 1:
        many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        seeds = "seeds" if result.over == ["seed"] else "runs"
        parts.append(f"mean of {many} {seeds}" + (f", band: {BANDS[band]}" if BANDS[band] else ""))
    return "\n".join(parts)


def _finish(figure: Figure, axes: Sequence[Axes], below: str, legend: bool = True) -> None:
    if legend:
        known: dict[str, Any] = {}
        for axis in axes:
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
                known.setdefault(label, handle)
        if len(known) > 1 or (known and "all runs" not in known):
            made = figure.legend(
                list(known.values()),
                [cut(label, LONGEST) for label in known],
                loc="outside right upper",
                frameon=False,
                fontsize=8.5,
                handlelength=3.2,
            )
            for word in made.get_texts():
                word.set_parse_math(False)
    for axis in axes:
        for word in axis.get_yticklabels():
            word.set_parse_math(False)
    if below:
        figure.supxlabel(below, fontsize=7.5, color="#555555", x=0.01, ha="left", parse_math=False)
