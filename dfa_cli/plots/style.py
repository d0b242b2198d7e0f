"""What all figures share: sizes, colours, captions, and how they are saved."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfa_cli.comparison.captions import split_caption
from dfa_cli.comparison.comparison import Comparison
from dfa_cli.comparison.group import Group
from dfa_cli.comparison.statistics import deviation, interval, mean
from dfa_cli.console.table import truncate
from dfa_cli.console.values import format_value
from dfa_cli.errors import DfaError, one_of
from dfa_cli.records.fallback import data_of_row

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
SCALES = ("auto", "linear", "log")
SUFFIXES = (".png", ".svg", ".pdf")
LONGEST = 36  # characters of a label; a longer one is cut, or it would leave no room for the figure


def figure_kind(kind: str | None, x: str | None) -> str:
    """Returns the kind of figure that the options ask for. Raises `DfaError` when they contradict each other."""
    if kind is None:
        return "key" if x else "curves"
    if kind not in KINDS:
        raise DfaError(f"--kind: {one_of(kind, KINDS)}")
    if (kind == "key") != bool(x):
        raise DfaError(
            "--kind key and --x KEY go together: --x names the key that the metric is drawn against; "
            "give both, or neither"
        )
    return kind


@dataclass(frozen=True)
class Look:
    """How a figure is drawn.

    `band`: what the band over the seeds shows, one of `BANDS`. `scale`: the scale of the x axis, one of `SCALES`.
    `start`: where the axis of the values begins. `title`: the text above the figure. Raises `DfaError` for an unknown
    band or scale.
    """

    band: str = "std"
    scale: str = "auto"
    start: float | None = None
    title: str | None = None

    def __post_init__(self) -> None:
        if self.band not in BANDS:
            raise DfaError(f"--band: {one_of(self.band, BANDS)}")
        if self.scale not in SCALES:
            raise DfaError(f"--scale: {one_of(self.scale, SCALES)}")


def check_suffix(path: Path) -> None:
    """Raises `DfaError` for a name that does not end in one of `SUFFIXES`."""
    if path.suffix.lower() not in SUFFIXES:
        raise DfaError(f"--out {path}: the name must end in .png, .svg or .pdf")


def save(figure: Figure, suffix: str) -> bytes:
    """Returns the figure as the content of a file; the same figure gives the same bytes."""
    import matplotlib

    kind = suffix.lower().lstrip(".")
    file = io.BytesIO()
    # Font type 42 keeps text selectable in PDF. SVG keeps matplotlib's default, which draws text as paths, so that the
    # picture does not depend on the fonts of the reader's machine.
    with (
        warnings.catch_warnings(),
        matplotlib.rc_context({"svg.hashsalt": "dfa", "pdf.fonttype": 42, "hatch.linewidth": 0.6}),
    ):
        metadata: dict[str, Any] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
        # A character that the font lacks is drawn as a box, which needs no warning.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(file, format=kind, dpi=200, metadata=metadata, bbox_inches="tight", pad_inches=0.08)
    return file.getvalue()


def fill_band(
    axis: Any, at: Sequence[float], values: Iterable[Sequence[float]], band: str, scale: float, color: str
) -> None:
    """Fills the band over the seeds. Places where `band_ends` gives `None` are left out.

    `values`: the seeds' values at each place in `at`. `band`: the kind of band, as for `band_ends`. `scale`: the factor
    by which the ends are multiplied.
    """
    ends = ((x, band_ends(seed_values, band)) for x, seed_values in zip(at, values, strict=True))
    known = [(x, scale * pair[0], scale * pair[1]) for x, pair in ends if pair]
    if known:
        axis.fill_between(*zip(*known, strict=True), color=color, alpha=0.16, linewidth=0)


def band_ends(values: Sequence[float], band: str) -> tuple[float, float] | None:
    """Returns the lower and upper end of the band over `values`; `None` for a single value, or without a band."""
    if len(values) < 2 or band == "none":
        return None
    if band == "range":
        return min(values), max(values)
    if band == "ci":
        return interval(values)
    average, std = mean(values), deviation(values) or 0.0
    return average - std, average + std


def new_figure(
    result: Comparison, panels: int, title: str | None, height: float = 3.4
) -> tuple[Figure, list[Axes]]:
    """Makes an empty figure with room for its panels and for the labels beside them."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    across = min(panels, 3)
    down = math.ceil(panels / across)
    longest = max(min(len(group.label()), LONGEST) for group in result.groups)
    # The width is in inches. Long labels need more room beside the panels.
    width = (5.6 if panels == 1 else 3.6 * across) + 0.07 * max(longest - 14, 0)
    figure = Figure(figsize=(width, height * down), layout="constrained")
    axes = figure.subplots(down, across, squeeze=False).flatten().tolist()
    for spare in axes[panels:]:
        spare.remove()
    if title:
        figure.suptitle(title, fontsize=11, color=INK, parse_math=False)
    return figure, axes[:panels]


def dress(axis: Axes, heading: str, below: str, beside: str) -> None:
    """Gives a panel the grid, spines and labels that all figures share.

    `heading` stands at the top left, `below` is the label of the x axis, and `beside` is the label of the y axis.
    """
    axis.set_axisbelow(True)
    axis.grid(color=PALE, linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color("#888888")
    axis.tick_params(colors=INK, labelsize=8.5)
    axis.set_xlabel(below, fontsize=9.5, color=INK, parse_math=False)
    axis.set_ylabel(beside, fontsize=9.5, color=INK, parse_math=False)
    axis.set_title(truncate(heading, LONGEST), fontsize=9.5, color=INK, loc="left", parse_math=False)


def axis_title(words: str) -> str:
    return words.replace(", %", " (%)")


def caption(result: Comparison, band: str, groups: Sequence[Group]) -> str:
    """Writes the text under the figure: what all rows share, the data split, and what the band shows."""
    shared = ", ".join(
        data_of_row([run for group in groups for run in group.shown])
        if key == "data"
        else format_value(value)
        for key, value in result.constant.items()
        if key in ("data", "model", "rule", "device")
    )
    parts = [truncate(shared, 2 * LONGEST)] if shared else []
    if len(result.splits) == 1:
        parts.append(truncate(split_caption(result), 2 * LONGEST))
    counts = sorted({group.n for group in groups if group.n})
    if counts and counts[-1] > 1:
        many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        seeds = "seeds" if result.over == ["seed"] else "runs"
        parts.append(f"mean of {many} {seeds}" + (f", band: {BANDS[band]}" if BANDS[band] else ""))
    return "\n".join(parts)


def add_legend_and_caption(figure: Figure, axes: Sequence[Axes], below: str, legend: bool = True) -> None:
    """Adds one legend for all panels, and the text `below` them; no label is read as a TeX formula."""
    if legend:
        known: dict[str, Any] = {}
        for axis in axes:
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
                known.setdefault(label, handle)
        # A figure with a single line for all runs needs no legend.
        if len(known) > 1 or (known and "all runs" not in known):
            drawn_legend = figure.legend(
                list(known.values()),
                [truncate(label, LONGEST) for label in known],
                loc="outside right upper",
                frameon=False,
                fontsize=8.5,
                handlelength=3.2,
            )
            for word in drawn_legend.get_texts():
                word.set_parse_math(False)
    for axis in axes:
        for word in axis.get_yticklabels():
            word.set_parse_math(False)
    if below:
        figure.supxlabel(below, fontsize=7.5, color="#555555", x=0.01, ha="left", parse_math=False)
