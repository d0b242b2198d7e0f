"""What all figures share: sizes, colours, lines, captions, and how they are saved."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfa_cli.comparison.captions import not_used, split_caption
from dfa_cli.comparison.comparison import Comparison
from dfa_cli.comparison.group import Group, interval_of
from dfa_cli.comparison.statistics import deviation, mean
from dfa_cli.console.table import truncate, wrap
from dfa_cli.console.values import format_value, number
from dfa_cli.errors import DfaError, one_of
from dfa_cli.records.fallback import data_of_row
from dfa_cli.records.measures import Metric

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
DASHES = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (5, 1.4, 1.2, 1.4)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HATCHES = ("", "//", "..", "xx", "\\\\", "--", "++", "oo")
LARGEST = 1e100  # larger numbers overflow in the arithmetic of an axis
INK, PALE = "#222222", "#dddddd"

KINDS = ("curves", "bars", "key", "timeline")
BANDS = {
    "std": "± 1 standard deviation",
    "ci": "95 % confidence interval",
    "range": "lowest to highest",
    "none": "",
}
SCALES = ("auto", "linear", "log")
SUFFIXES = (".png", ".svg", ".pdf")
LONGEST = 36  # characters of a label; a longer one is cut, or it would leave no room for the figure
ROOMS = (LONGEST, 60, 100)  # for labels that only their later characters tell apart
NARROW = 5.0  # inches; the legend of a narrower figure stands above it
UNITS = {"": 1.0, "in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "pt": 1 / 72.27}  # in inches; pt as in TeX
SIZES = (1.0, 40.0)  # inches


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
    `start`: where the axis of the values begins. `title`: the text above the figure. `note`: whether the text below it
    is there. `width` and `height`: the size of the whole figure, in inches or with a unit of `UNITS`. `reference`: an
    expression for the rows that are drawn as a line across. Raises `DfaError` for an unknown band, scale or length.
    """

    band: str = "std"
    scale: str = "auto"
    start: float | None = None
    title: str | None = None
    note: bool = True
    width: str | None = None
    height: str | None = None
    reference: str | None = None

    def __post_init__(self) -> None:
        if self.band not in BANDS:
            raise DfaError(f"--band: {one_of(self.band, BANDS)}")
        if self.scale not in SCALES:
            raise DfaError(f"--scale: {one_of(self.scale, SCALES)}")
        for option, length in (("--width", self.width), ("--height", self.height)):
            if length is not None:
                inches(length, option)

    @property
    def is_sized(self) -> bool:
        """Whether the file must have the size that was asked for, to the margin."""
        return self.width is not None or self.height is not None


def inches(length: str, option: str) -> float:
    """Reads a length such as `3.3`, `3.3in`, `84mm`, `8.4cm` or `240pt`, and returns it in inches."""
    found = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*(in|cm|mm|pt|)", length.strip(), re.ASCII)
    if not found:
        raise DfaError(
            f"{option} is '{length}'. It must be a length in inches, or with the unit in, cm, mm or pt; "
            f"type {option} 240pt"
        )
    size = float(found[1]) * UNITS[found[2]]
    if not SIZES[0] <= size <= SIZES[1]:
        raise DfaError(
            f"{option} is '{length}'. It must be from {SIZES[0]:g} to {SIZES[1]:g} inches; type {option} 240pt"
        )
    return size


def line_look(i: int) -> dict[str, Any]:
    """Returns the colour, dashes and marker of line number `i`, for `Axes.plot`.

    Two of the first 32 lines differ in dashes or in the marker, so that they are told apart without colour.
    """
    return {
        "color": COLOURS[i % len(COLOURS)],
        "linestyle": DASHES[(i + i // len(COLOURS)) % len(DASHES)],
        "linewidth": 1.7,
        "marker": MARKERS[i % len(MARKERS)],
        "markersize": 4.5,
        "markerfacecolor": "white",
        "markeredgewidth": 1.2,
    }


def bar_hatch(i: int, repeated: int) -> str:
    """Returns the hatch of bar number `i`, which has the colour of so many bars before it."""
    return HATCHES[(i + repeated) % len(HATCHES)]


def reference_look(i: int) -> dict[str, Any]:
    """Returns the look of line number `i` of those that go across the figure: grey, without markers."""
    return {"color": "#555555", "linestyle": DASHES[(i + 1) % len(DASHES)], "linewidth": 1.2}


def check_suffix(path: Path) -> None:
    """Raises `DfaError` for a name that does not end in one of `SUFFIXES`."""
    if path.suffix.lower() not in SUFFIXES:
        raise DfaError(f"--out {path}: the name must end in .png, .svg or .pdf")


def save(figure: Figure, suffix: str, is_sized: bool = False) -> bytes:
    """Returns the figure as the content of a file; the same figure gives the same bytes.

    The margin around the figure is cut off, unless the figure `is_sized`.
    """
    import matplotlib

    kind = suffix.lower().lstrip(".")
    file = io.BytesIO()
    # Font type 42 (TrueType) is embedded in a PDF, where publishers refuse type 3. It keeps text selectable. SVG keeps
    # matplotlib's default, which draws text as paths, so that the picture does not depend on the fonts of the reader's
    # machine.
    with (
        warnings.catch_warnings(),
        matplotlib.rc_context({"svg.hashsalt": "dfa", "pdf.fonttype": 42, "hatch.linewidth": 0.6}),
    ):
        metadata: dict[str, Any] = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
        # A character that the font lacks is drawn as a box, which needs no warning.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        # So many labels that no room is left for the axes: the figure is drawn all the same.
        warnings.filterwarnings("ignore", message="constrained_layout not applied")
        cut: dict[str, Any] = {} if is_sized else {"bbox_inches": "tight", "pad_inches": 0.08}
        figure.savefig(file, format=kind, dpi=300, metadata=metadata, **cut)
    return file.getvalue()


def fill_band(
    axis: Any, at: Sequence[float], values: Iterable[Sequence[float]], band: str, metric: Metric, color: str
) -> None:
    """Fills the band over the seeds. Places where `band_ends` gives `None` are left out.

    `values`: the seeds' values of `metric` at each place in `at`. `band`: the kind of band, as for `band_ends`.
    """
    ends = ((x, band_ends(seed_values, band, metric)) for x, seed_values in zip(at, values, strict=True))
    known = [(x, metric.scale * pair[0], metric.scale * pair[1]) for x, pair in ends if pair]
    if known:
        axis.fill_between(*zip(*known, strict=True), color=color, alpha=0.16, linewidth=0)


def fill_across(axis: Any, values: Sequence[float], band: str, metric: Metric) -> None:
    """Fills the band of a line that goes across the figure."""
    if ends := band_ends(values, band, metric):
        low, high = (metric.scale * end for end in ends)
        axis.axhspan(low, high, color=reference_look(0)["color"], alpha=0.1, linewidth=0)


def band_ends(values: Sequence[float], band: str, metric: Metric) -> tuple[float, float] | None:
    """Returns the ends of the band over values of a metric; `None` for too few values, or without a band."""
    if len(values) < 2 or band == "none":
        return None
    if band == "range":
        return min(values), max(values)
    if band == "ci":
        return interval_of(metric, values)
    average, std = mean(values), deviation(values) or 0.0
    return average - std, average + std


def new_figure(
    look: Look, panels: int, labels: Sequence[str], height: float = 3.4, is_fixed: bool = False
) -> tuple[Figure, list[Axes]]:
    """Makes an empty figure with room for its panels and for the `labels` beside them.

    `height` is the height of a row of panels, in inches. Unless it `is_fixed`, a long legend makes the figure higher,
    and a small `look.width` makes it lower.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    columns = min(panels, 3)
    longest = max(len(label) for label in shorten(labels))
    width = (5.6 if panels == 1 else 3.6 * columns) + 0.07 * max(longest - 14, 0)
    if look.width:
        default_width, width = width, inches(look.width, "--width")
        columns = max(min(columns, int(width / 2.2)), 1)
        if not is_fixed:
            height *= min(max(width / default_width, 0.7), 1.0)
    rows = math.ceil(panels / columns)
    legend_height = 0.0 if is_fixed else 0.19 * len(labels) + 0.6
    total = inches(look.height, "--height") if look.height else max(height * rows, legend_height)
    figure = Figure(figsize=(width, total), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for spare in axes[panels:]:
        spare.remove()
    return figure, axes[:panels]


def shorten(labels: Sequence[str]) -> list[str]:
    """Cuts long labels, but not so short that two of them become equal."""
    for room in ROOMS:
        short = [truncate(label, room) for label in labels]
        if len(set(short)) == len(set(labels)):
            break
    return short


def is_narrow(figure: Figure) -> bool:
    return figure.get_figwidth() < NARROW


def dress(axis: Axes, heading: str, below: str, beside: str) -> None:
    """Gives a panel the grid, spines and labels that all figures share.

    `heading` stands at the top left, `below` is the label of the x axis, and `beside` is the label of the y axis. A
    label that is longer than its axis takes several lines.
    """
    figure, place_in_grid = axis.get_figure(root=True), axis.get_subplotspec()
    if figure is not None and place_in_grid is not None:
        down, across = place_in_grid.get_gridspec().get_geometry()
        rooms = (figure.get_figwidth() / across, figure.get_figheight() / down)
        # 15 letters to the inch, less what is beside the axis
        sizes = (max(int(15 * (room - 0.9)), 12) for room in rooms)
        below, beside = (
            "\n".join(part for line in label.split("\n") for part in wrap(line, size))
            for label, size in zip((below, beside), sizes, strict=True)
        )
    axis.set_axisbelow(True)
    axis.grid(color=PALE, linewidth=0.6)
    axis.spines[["top", "right"]].set_visible(False)
    axis.spines[["left", "bottom"]].set_color("#888888")
    axis.tick_params(colors=INK, labelsize=8.5)
    axis.set_xlabel(below, fontsize=9.5, color=INK, parse_math=False)
    axis.set_ylabel(beside, fontsize=9.5, color=INK, parse_math=False)
    axis.set_title(heading, fontsize=9.5, color=INK, loc="left", parse_math=False)


def place(value: Any) -> float | None:
    """Returns the place of a value on an axis; `None` for what is no number, or is too large to be drawn."""
    return x if (x := number(value)) is not None and abs(x) < LARGEST else None


def axis_title(words: str) -> str:
    return words.replace(", %", " (%)")


def whole_ticks(axis: Any, values: Iterable[float] = ()) -> None:
    """Puts the ticks of an axis at whole numbers if all values on it are whole, as those of a count are."""
    from matplotlib.ticker import MaxNLocator

    if all(float(value).is_integer() for value in values):
        axis.set_major_locator(MaxNLocator("auto", integer=True))


def caption(result: Comparison, look: Look, groups: Sequence[Group], bars: bool = False) -> str:
    """Writes the text under the figure: what all rows share, the data split, and what the marks of the spread show.

    `bars`: these are the whiskers and the dots of bars, and not the band of a line.
    """
    if not look.note:
        return ""
    shared = ", ".join(
        data_of_row([run for group in groups for run in group.shown])
        if key == "data"
        else f"{format_value(value)}{not_used(result, key)}"
        for key, value in result.constant.items()
        if key in ("data", "model", "rule", "device", "precision")
    )
    parts = [truncate(shared, 2 * LONGEST)] if shared else []
    if len(result.splits) == 1:
        parts.append(truncate(split_caption(result), 2 * LONGEST))
    counts = sorted({group.n for group in groups if group.n})
    if counts and counts[-1] > 1:
        seeds = "seeds" if result.over == ["seed"] else "runs"
        if len(counts) == 1:
            words = f"mean of {counts[0]} {seeds}"
        else:
            words = f"each mean is over at least {counts[0]} and at most {counts[-1]} {seeds}"
        spread = BANDS[look.band] and f", {'whiskers' if bars else 'band'}: {BANDS[look.band]}"
        parts.append(words + spread + (f", dots: the {seeds}" if bars else ""))
    return "\n".join(parts)


def finish(figure: Figure, axes: Sequence[Axes], look: Look, below: str) -> None:
    """Adds one legend for all panels, the title, and the text `below`; no label is read as a TeX formula."""
    known: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            known.setdefault(label, handle)
    if set(known) == {"all runs"}:  # A figure with a single line for all runs needs no legend.
        known = {}
    width = figure.get_figwidth()
    title = "\n".join(wrap(look.title, int(13 * width))) if look.title else None
    note = [part for line in below.split("\n") for part in wrap(line, int(18 * width))] if below else []
    narrow = is_narrow(figure)
    labels = shorten(list(known))
    columns = 1
    if narrow and known:
        longest = max(len(label) for label in labels)
        columns = max(int(width / (0.5 + 0.06 * longest)), 1)  # inches
    if narrow and not look.height:  # Legend, title and note take nothing away from the panels.
        lines = 0.17 * math.ceil(len(known) / columns) + 0.15 * len(note) + (0.22 if title else 0.0)
        figure.set_figheight(figure.get_figheight() + lines)
    if known:
        drawn = figure.legend(
            list(known.values()),
            labels,
            loc="outside upper left" if narrow else "outside right upper",
            ncols=columns,
            frameon=False,
            fontsize=7.5 if narrow else 8.5,
            handlelength=2.8 if narrow else 3.2,
            alignment="left",
        )
        for word in drawn.get_texts():
            word.set_parse_math(False)
        if narrow and title:  # The layout would put a title of the figure on top of the legend.
            drawn.set_title(title)
            drawn.get_title().set(fontsize=9.5, parse_math=False)
            title = None
    if title:
        figure.suptitle(title, fontsize=11, color=INK, parse_math=False)
    for axis in axes:
        for word in axis.get_yticklabels():
            word.set_parse_math(False)
    if note:
        figure.supxlabel("\n".join(note), fontsize=7.5, color="#555555", x=0.01, ha="left", parse_math=False)
