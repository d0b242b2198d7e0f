"""`dfa runs`: lists the runs, one line each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dfa_cli.comparison.grouping import key_value
from dfa_cli.console.output import colour_status
from dfa_cli.console.table import GAP, csv_text, display_width, lay_out, truncate, wrap
from dfa_cli.console.values import (
    NOTHING,
    duration,
    enumeration,
    format_time,
    format_value,
    json_text,
    printable,
)
from dfa_cli.records.fallback import data_of, fallback_notes
from dfa_cli.records.measures import BY_NAME, DEFAULT
from dfa_cli.records.run import Run
from dfa_cli.records.words import warning_notes


@dataclass(frozen=True)
class Column:
    name: str
    cell: Callable[[Run], str]
    raw: Callable[[Run], Any]
    left: bool = True


def _choice(name: str) -> Column:
    return Column(
        name, lambda run: format_value(run.choices.get(name) or NOTHING), lambda run: run.choices.get(name)
    )


# The last argument of a `Column` tells whether it is aligned to the left.
COLUMNS = (
    Column("id", lambda run: printable(run.id), lambda run: run.id),
    Column("when", lambda run: format_time(run.created), lambda run: run.created),
    Column("status", lambda run: f"{run.status} !" if run.warnings else run.status, lambda run: run.status),
    _choice("model"),
    Column("data", data_of, lambda run: run.choices.get("data")),
    _choice("rule"),
    Column(  # A rule that projects nothing has no device.
        "device",
        lambda run: format_value(key_value(run, "device") or NOTHING),
        lambda run: run.choices.get("device"),
    ),
    Column(
        "seed",
        lambda run: format_value(run.config.get("seed", NOTHING)),
        lambda run: run.config.get("seed"),
        False,
    ),
    Column("test %", lambda run: DEFAULT.show(DEFAULT.value_of(run)), DEFAULT.value_of, False),
    Column(
        "time",
        lambda run: duration(BY_NAME["total_seconds"].value_of(run)),
        BY_NAME["total_seconds"].value_of,
        False,
    ),
)
FORMATS = ("table", "csv", "json")
_MAY_BE_CUT = ("id", "model", "data", "rule", "device", "seed")
_LEAST_WANTED = ("time", "when", "seed")  # the columns that a narrow terminal leaves out, in this order


def list_as_text(runs: Sequence[Run], width: int | None = None) -> str:
    """Writes the list for people, in the order of `runs`.

    If the list is wider than `width`, values that all runs share move to a line above it. If that is not enough, the
    long names are cut, and the least wanted columns are left out. Without a width, as in a pipe, every column stays.
    """
    columns = list(COLUMNS)
    cells = {column.name: [column.cell(run) for run in runs] for column in columns}
    shared: list[str] = []
    left_out: list[str] = []

    def sizes() -> dict[str, int]:
        return {
            column.name: max(display_width(cell) for cell in [column.name, *cells[column.name]])
            for column in columns
        }

    def too_wide() -> bool:
        return width is not None and sum(sizes().values()) + len(GAP) * (len(columns) - 1) > width

    def cut_to(least: int) -> None:
        """Cuts the longest names, but not below `least` cells, until the list fits."""
        while too_wide():
            name, size = max(
                ((name, size) for name, size in sizes().items() if name in _MAY_BE_CUT),
                key=lambda pair: pair[1],
            )
            if size <= least:
                return
            cells[name] = [truncate(cell, size - 1) for cell in cells[name]]

    if len(runs) > 1:
        for name in ("data", "model", "device", "rule", "status", "seed"):
            if too_wide() and len(set(cells[name])) == 1:
                shared += [f"{name} {cells[name][0]}"] if cells[name][0] != NOTHING else []
                columns = [column for column in columns if column.name != name]
    cut_to(12)
    for name in _LEAST_WANTED:
        if too_wide():
            left_out.append(name)
            columns = [column for column in columns if column.name != name]
    cut_to(8)
    rows = [[cells[column.name][i] for column in columns] for i in range(len(runs))]
    heading, *table = lay_out([c.name for c in columns], rows, [c.left for c in columns], header_line=False)
    room = width or 100_000
    lines = [*wrap(f"in all of them: {', '.join(shared)}", room), ""] if shared else []
    lines.append(heading)
    for run, line in zip(runs, table, strict=True):
        line = line if width is None else truncate(line, width)
        status = run.status
        lines.append(line.replace(status, colour_status(status), 1) if status != "completed" else line)
    reasons = [f"{run.id} {reason}" for run in runs if (reason := failure(run))]
    if reasons:
        lines += ["", *(part for reason in reasons[:10] for part in wrap(reason, room))]
        if len(reasons) > 10:
            lines.append(f"and {len(reasons) - 10} more failed; --status failed lists them alone")
    if notes := fallback_notes(runs):
        lines += ["", *(part for note in notes for part in wrap(note, room))]
    if notes := warning_notes(runs):
        lines += ["", *(part for note in notes for part in wrap(note, room))]
    no_room = f"; no room here for {enumeration(left_out)}" if left_out else ""
    lines += ["", *wrap(f"test %: {DEFAULT.words}{no_room}", room)]
    return "\n".join(lines) + "\n"


def failure(run: Run) -> str:
    """Says why a run failed: `failed in epoch 7: RuntimeError: the loss is NaN`; empty if it did not fail."""
    error = run.record.get("error") or {}
    if run.status != "failed" or not error:
        return ""
    at = f" in epoch {format_value(error['epoch'])}" if error.get("epoch") is not None else ""
    reason = format_value(error.get("message") or "no reason recorded")
    return f"failed{at}: {format_value(error.get('type') or 'error')}: {reason}"


def list_as_csv(runs: Sequence[Run]) -> str:
    """Writes the list for spreadsheets: with full names, fractions, seconds, and the folder of each run."""
    return csv_text([_record(run) for run in runs])


def list_as_json(runs: Sequence[Run]) -> str:
    return json_text([_record(run) for run in runs])


def _record(run: Run) -> dict[str, Any]:
    full = {"test %": DEFAULT.name, "when": "created", "time": "total_seconds"}
    return {full.get(column.name, column.name): column.raw(run) for column in COLUMNS} | {
        "data_fallback": run.record.get("data_fallback"),
        "warnings": run.warnings or None,
        "folder": run.folder,
    }
