"""Writes a comparison as a LaTeX table: the tabular alone, or in a float."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from dfa_cli.comparison.captions import constants, split_caption, title
from dfa_cli.comparison.columns import (
    Column,
    columns,
    describe_absent,
    format_difference,
    note_on_differences,
    notes_on_columns,
)
from dfa_cli.comparison.comparison import Comparison
from dfa_cli.comparison.group import Group
from dfa_cli.console.table import wrap
from dfa_cli.console.values import NOTHING
from dfa_cli.errors import DfaError

COMMENT_WIDTH = 96  # characters of a line of the comment
ARTICLE_WIDTH = 345  # pt: a line of LaTeX's own article in 10 pt
# The font sizes that a table may have: the width of a sign, and the gap on each side of a column, in pt.
_SIZES = {"": (4.6, 6), "\\small": (4.25, 4), "\\footnotesize": (3.9, 3)}
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "–": "--",
    "…": r"\ldots{}",
    "µ": r"$\mu$",
    "|": r"\textbar{}",
    '"': "''",
    # Behind the end of a row, LaTeX takes these two for an option of that end.
    "[": "{[}",
    "*": "{*}",
}


def latex_safe(word: str) -> str:
    """Escapes `word` for LaTeX; a character that the default fonts lack becomes a question mark."""
    return "".join(_LATEX.get(c) or (c if ord(c) < 0x100 else "?") for c in word)


@dataclass(frozen=True)
class Float:
    """The floating table around a tabular.

    `caption` is LaTeX; without one, the caption says what the table shows. `label` is what `\\ref` names. Raises
    `DfaError` for a caption that would swallow the lines after it, and for a label that LaTeX does not take.
    """

    caption: str | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        bare = re.sub(r"\\.", "", self.caption or "", flags=re.DOTALL)
        if "%" in bare:
            raise DfaError(
                f"--caption is '{self.caption}'. A caption is LaTeX, where % begins a comment; type \\% for the sign"
            )
        if bare.count("{") != bare.count("}"):
            raise DfaError(
                f"--caption is '{self.caption}'. Each {{ of a caption needs its }}; add the missing one"
            )
        if self.label is not None and not re.fullmatch(r"[\w:.+/ -]+", self.label, re.ASCII):
            raise DfaError(
                f"--label is '{self.label}'. A label has letters, digits and : . + / - _; type --label tab:rules"
            )


def paper_columns(
    result: Comparison, wanted: Sequence[str] = (), precision: int | None = None
) -> list[Column]:
    """Returns the columns of the keys, then the `wanted` ones. The default is what fits a column of a paper.

    The default is the mean with its deviation, the number of seeds where it differs between the rows, and the
    difference from the baseline. A star at the difference stands for the p-value.
    """
    if wanted:
        return columns(result, wanted, precision)
    names = ["mean_std"]
    names += ["n"] if len({group.n for group in result.groups}) > 1 else []
    names += ["difference"] if result.baseline else []
    names += ["ci_equal", "p_equal", "verdict"] if result.equivalent is not None else []
    chosen = []
    for column in columns(result, names, precision):
        if column.name == "difference":
            # The heading "vs rule=bp" is in the language of the command line. The interval would need too much room.
            heading = re.sub(r"^vs [\w./]+=([\w./]+)$", r"vs \1", column.heading)
            column = replace(
                column,
                heading=heading,
                cell=lambda group: format_difference(
                    group, lambda value: result.metric.show(value, precision), with_interval=False
                ),
                note=note_on_differences(result, heading, with_interval=False),
            )
        if column.name != "absent":  # The comment names these seeds.
            chosen.append(column)
    return chosen


def as_latex(result: Comparison, chosen: Sequence[Column], around: Float | None = None) -> str:
    """Writes a tabular, or the float `around` it. It needs `\\usepackage{booktabs}` and no other package.

    A table that is too wide for a column of an article gets a smaller font.
    """
    has_p = any(column.name == "p" for column in chosen)
    tabular = [
        f"\\begin{{tabular}}{{{''.join('l' if column.left else 'r' for column in chosen)}}}",
        "  \\toprule",
        "  " + " & ".join(latex_safe(column.heading) for column in chosen) + " \\\\",
        "  \\midrule",
        *(
            "  " + " & ".join(_cell(column, group, has_p) for column in chosen) + " \\\\"
            for group in result.groups
        ),
        "  \\bottomrule",
        "\\end{tabular}%",  # The comment sign keeps the end of the line from becoming a blank.
    ]
    widths = {size: _width(chosen, result.groups, points, gap) for size, (points, gap) in _SIZES.items()}
    size = next((size for size, width in widths.items() if width <= ARTICLE_WIDTH), list(_SIZES)[-1])
    if size:
        tabular = [
            f"{{{size}\\setlength{{\\tabcolsep}}{{{_SIZES[size][1]}pt}}%",
            *tabular[:-1],
            "\\end{tabular}}%",
        ]
    if around is not None:
        tabular = [
            "\\begin{table}",
            "  \\centering",
            f"  \\caption{{{around.caption or _caption(result, has_p)}}}",
            f"  \\label{{{around.label or 'tab:dfa-compare'}}}",
            "  \\smallskip",
            *(f"  {line}" for line in tabular),
            "\\end{table}",
        ]
    about = [*_about(result), *notes_on_columns(chosen)]
    if widths[size] > ARTICLE_WIDTH:
        about.append(
            f"In {size} the table is about {widths[size]:.0f} pt wide, and an article has {ARTICLE_WIDTH} pt. "
            "It becomes narrower with --where, so that fewer keys differ, or with --columns."
        )
    comment = [f"% {part}" for line in about for part in wrap(line, COMMENT_WIDTH)]
    return "\n".join(["% needs \\usepackage{booktabs}", *comment, *tabular]) + "\n"


def _width(chosen: Sequence[Column], groups: Sequence[Group], points: float, gap: float) -> float:
    """Estimates the width of a tabular in pt: most signs are a little narrower than a digit."""
    characters = sum(max(len(cell) for cell in [c.heading, *map(c.cell, groups)]) for c in chosen)
    return characters * points + 2 * gap * len(chosen)


def _cell(column: Column, group: Group, has_p: bool) -> str:
    shown = column.cell(group)
    if shown == NOTHING:
        return "--"
    bare = shown.removesuffix(" *")
    safe = latex_safe(bare)
    if not column.left:  # In text mode LaTeX would set a hyphen for a minus.
        safe = re.sub(r"(?<![\w-])-(?=[\d.])", "$-$", safe).replace("\\textless{}0.", "$<$0.")
    if bare != shown:
        return safe + "$^{*}$"
    # Without a column of p-values, the star hangs beside the difference and leaves the numbers aligned.
    hangs = column.name == "difference" and not has_p and group.difference and group.difference.significant
    return safe + "\\rlap{$^{*}$}" if hangs else safe


def _about(result: Comparison) -> Iterator[str]:
    """Says what a reader has to know to understand the table, one sentence each."""
    yield f"{title(result)}."
    if seeds := _seeds(result):
        yield f"Each row: {seeds}."
    if result.splits:
        yield f"Split: {split_caption(result)}."
    if constants(result):
        yield f"The same in all rows: {constants(result)}."
    for group in result.groups:
        if group.absent:
            yield f"Not counted in the row {group.label()}: {describe_absent(group.absent, result.units)}."
    yield from result.notes()


def _seeds(result: Comparison) -> str:
    """Says how many seeds each row has, or nothing if the rows differ in it."""
    counts = {group.n for group in result.groups}
    return f"n = {counts.pop()} {result.seeds}" if len(counts) == 1 and max(counts) > 1 else ""


def _caption(result: Comparison, has_p: bool) -> str:
    shown = title(result)
    parts = [", ".join(part for part in (shown[0].upper() + shown[1:], _seeds(result)) if part)]
    if any(group.difference and group.difference.significant for group in result.groups):
        parts.append(f"* p < 0.05 against {result.baseline}, corrected by Holm's method")
    return " ".join(
        latex_safe(part).replace("{*} ", "$^{*}$ ").replace(r"\textless{}", "$<$") + "." for part in parts
    )
