"""The curves of a run: its `metrics.csv`."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from dfa_cli.console.values import number

METRICS = "metrics.csv"  # in a run's folder


def read_curves(path: str | os.PathLike[str]) -> dict[str, list[float | None]]:
    """The columns of a `metrics.csv`; `{}` when there is none.

    A last line without its newline was cut short by the run's end and is left out; so is a line that does not
    read as numbers. Where an epoch stands twice, as after a resumed run, the later line counts.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().split("\n")
    except OSError:
        return {}
    if len(lines) < 2:
        return {}
    names = [name.strip() for name in lines[0].split(",")]
    rows: dict[float | None, list[float | None]] = {}
    for line in lines[1:-1]:
        cells = line.split(",")
        if len(cells) == len(names):
            try:
                row = [number(float(cell)) if cell.strip() else None for cell in cells]
            except ValueError:
                continue
            rows[row[0]] = row
    return {name: [row[i] for row in rows.values()] for i, name in enumerate(names)}


def _cell(value: float | None) -> str:
    """Shortest text that reads back as the same number; empty for what was not measured."""
    return "" if value is None else repr(value)


def rows_until(folder: Path, epoch: int) -> list[dict[str, float]]:
    """The lines of `metrics.csv` up to `epoch`, by column."""
    lines = _lines_until(folder, epoch)
    return [{name: _number(cell) for name, cell in row.items()} for row in csv.DictReader(lines)]


def _number(cell: str) -> float:
    """As it was written: whole numbers stay whole."""
    return int(cell) if cell.isdecimal() else float(cell or "nan")


def _lines_until(folder: Path, epoch: int) -> list[str]:
    """The heading and the lines up to `epoch`, as they stand in the file; one that was cut short is left out."""
    try:
        heading, *lines = (folder / "metrics.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, ValueError):
        return []
    whole = [line for line in lines if line.endswith("\n") and line.partition(",")[0].isdecimal()]
    return [heading, *(line for line in whole if int(line.partition(",")[0]) <= epoch)]


def progress_of(folder: Path) -> tuple[int, float | None]:
    """The last whole line of a run's `metrics.csv`: its epoch and its validation accuracy."""
    try:
        with open(folder / "metrics.csv", "rb") as file:
            names = file.readline().decode().strip().split(",")
            file.seek(max(file.tell(), file.seek(0, os.SEEK_END) - 2000))
            lines = file.read().decode().split("\n")
    except OSError:
        return 0, None
    if len(lines) < 2:
        return 0, None
    row = dict(zip(names, lines[-2].split(","), strict=False))
    try:
        return int(row["epoch"]), float(row["validation_accuracy"])
    except (KeyError, ValueError):
        return 0, None
