"""Writes a comparison as text: for the terminal, a README, a spreadsheet, a program, a paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dfa_cli.comparison.captions import constants, split_caption, title
from dfa_cli.comparison.columns import Column, columns, key_columns, notes_on_columns
from dfa_cli.comparison.comparison import Comparison, summarise
from dfa_cli.comparison.group import Group
from dfa_cli.comparison.latex import Float, as_latex, paper_columns
from dfa_cli.console.table import csv_text, fits, lay_out, wrap
from dfa_cli.console.values import NOTHING, json_text
from dfa_cli.errors import DfaError, one_of
from dfa_cli.records.find import Paths

FORMATS = ("table", "md", "csv", "json", "latex")


def compare_table(
    folders: Paths = ("outputs",),
    *,
    format: str = "table",
    show: Sequence[str] = (),
    precision: int | None = None,
    width: int | None = None,
    **options: Any,
) -> str:
    """Compares all runs below `folders`, and returns the table as a string in one of `FORMATS`.

    `options` are the options of `summarise`. `show` names the columns, and `precision` is the number of decimals.
    `width` is the width of the terminal; with `None` the table is as wide as it needs to be.
    """
    return render(summarise(folders, **options), format, show, precision, width)


def render(
    result: Comparison,
    format: str = "table",
    show: Sequence[str] = (),
    precision: int | None = None,
    width: int | None = None,
    around: Float | None = None,
) -> str:
    """Writes `result` in one of `FORMATS`, with a newline at the end. `around`: the float of a LaTeX table."""
    if format not in FORMATS:
        raise DfaError(f"--format: {one_of(format, FORMATS)}")
    if precision is not None and not 0 <= precision <= 12:
        raise DfaError(f"--precision is {precision}; it must be a number of decimals from 0 to 12")
    if format == "latex":
        return as_latex(result, paper_columns(result, show, precision), around)
    chosen = columns(result, show, precision, for_people=format not in ("csv", "json"))
    if format == "table":
        return as_text(result, chosen, width, may_leave_out=not show)
    return {"md": as_markdown, "csv": as_csv, "json": as_json}[format](result, chosen)


# The columns that a narrow terminal leaves out, the first one first.
LEFT_OUT = ("energy", "frames", "time", "best", "ci")


def as_text(
    result: Comparison, chosen: Sequence[Column], width: int | None = None, may_leave_out: bool = False
) -> str:
    """Writes the table for a terminal that is `width` cells wide.

    A table that is too wide loses the columns of `LEFT_OUT` if `may_leave_out`. If it is still too wide, it becomes
    several tables, one for each value of its first key.
    """
    lines = [title(result)]
    if result.splits:
        lines.append(f"split: {split_caption(result)}")
    if constants(result):
        lines.append(f"the same in all rows: {constants(result)}")
    room = width or 100_000
    lines = [part for line in lines for part in wrap(line, room)]
    shown = list(chosen)
    if width and may_leave_out:
        for name in LEFT_OUT:
            if not _fits(shown, result.groups, width):
                shown = [column for column in shown if column.name != name]
    lines += ["", *_sections(shown, result.groups, key_columns(result), width, result.named)]
    notes = [*result.notes(), *notes_on_columns(shown)]
    if gone := [column.name for column in chosen if column not in shown]:
        notes.append(f"Not shown for lack of room: {', '.join(gone)} (--columns names what to show).")
    if notes:
        lines += ["", *(part for note in notes for part in wrap(note, room))]
    return "\n".join(lines) + "\n"


def _fits(chosen: Sequence[Column], groups: Sequence[Group], width: int) -> bool:
    rows = [[column.cell(group) for column in chosen] for group in groups]
    return fits([column.heading for column in chosen], rows, width)


def _sections(
    chosen: Sequence[Column],
    groups: Sequence[Group],
    keys: Sequence[str],
    width: int | None,
    together: Sequence[str],
    above: Sequence[str] = (),
) -> list[str]:
    """Lays out the table. If it is too wide, it is divided by a key until each part fits.

    The key is the one that leaves the fewest parts too wide, and then the one with the fewest values. The table is not
    divided by the keys of `together`, which tell a row from its baseline. The heading of a part says what is the same
    in all its rows, after the words `above` of the parts that hold it. A column without a value is left out.
    """
    keys = [column.name for column in chosen if column.name in keys]
    heading = ", ".join(above)
    divisions = []
    figures = [column for column in chosen if column.name not in keys]
    # Where the figures alone are too wide, each part would be too wide as well.
    if width is not None and not _fits(chosen, groups, width) and _fits(figures, groups, width):
        for column in chosen:
            if column.name in keys and column.name not in together:
                cells = list(dict.fromkeys(map(column.cell, groups)))
                parts = [[group for group in groups if column.cell(group) == cell] for cell in cells]
                if len(parts) > 1 or len(groups) == 1:
                    divisions.append([(part, *_without_same(chosen, part, keys)) for part in parts])
    if not divisions:
        rows = [[column.cell(group) for column in chosen] for group in groups]
        heads = [column.heading for column in chosen]
        table = lay_out(heads, rows, [c.left for c in chosen], keys=len(keys), width=width)
        return [*(wrap(heading, width) if width and heading else []), *table]

    def wideness(division: Sequence[tuple[Sequence[Group], list[str], list[Column]]]) -> tuple[int, int]:
        return sum(not _fits(varying, part, width or 0) for part, _, varying in division), len(division)

    lines: list[str] = []
    for part, same, varying in min(divisions, key=wideness):
        table = _sections(varying, part, keys, width, together, [*above, *same])
        lines += [*([""] if lines else []), *table]
    return lines


def _without_same(
    chosen: Sequence[Column], part: Sequence[Group], keys: Sequence[str]
) -> tuple[list[str], list[Column]]:
    """Returns what is the same in all rows of a part, in words, and the columns that are left to show."""
    same, varying = [], []
    for column in chosen:
        cells = {column.cell(group) for group in part}
        if column.name in keys and len(cells) == 1:
            same += [f"{column.heading} {cell}" for cell in cells if cell != NOTHING]
        elif column.has_value(part):
            varying.append(column)
    return same, varying


def as_markdown(result: Comparison, chosen: Sequence[Column]) -> str:
    def safe(word: str) -> str:
        for mark in "\\|`*_<>[]":
            word = word.replace(mark, "\\" + mark)
        return word

    lines = [f"**{safe(title(result))}**", ""]
    if result.splits:
        # Two spaces at the end of a line make a line break in Markdown.
        lines.append(f"Split: {safe(split_caption(result))}.  ")
    if constants(result):
        lines.append(f"The same in all rows: {safe(constants(result))}.")
    if result.splits or constants(result):
        lines.append("")
    lines.append("| " + " | ".join(safe(column.heading) for column in chosen) + " |")
    lines.append("| " + " | ".join("---" if column.left else "---:" for column in chosen) + " |")
    for group in result.groups:
        lines.append("| " + " | ".join(safe(column.cell(group)) for column in chosen) + " |")
    notes = [*result.notes(), *notes_on_columns(chosen)]
    if notes:
        lines += ["", *(f"{safe(note)}  " for note in notes[:-1]), safe(notes[-1])]
    return "\n".join(lines) + "\n"


def as_csv(result: Comparison, chosen: Sequence[Column]) -> str:
    """Writes one line per row, with the numbers of the records (fractions, seconds, joules), not rounded."""
    return csv_text([_raw(result, chosen, group) for group in result.groups])


def as_json(result: Comparison, chosen: Sequence[Column]) -> str:
    """Writes everything that the table says, for programs; accuracies are fractions."""
    whole = {
        "metric": result.metric.name,
        "metric_in_words": result.metric.words,
        "over": result.over,
        "splits": result.splits,
        "constant": result.constant,
        "baseline": result.baseline,
        "duplicates_left_out": result.duplicates,
        "groups": [
            {**_raw(result, chosen, group), "runs": [run.id for run in group.counted], "absent": group.absent}
            for group in result.groups
        ],
        "notes": result.notes(),
    }
    return json_text(whole)


def _raw(result: Comparison, chosen: Sequence[Column], group: Any) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for column in chosen:
        record.update(column.raw(group))
    if "metric" not in record:
        record["metric"] = result.metric.name
    return record
