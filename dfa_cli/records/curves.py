"""`metrics.csv` in a run's folder: a heading, and a line for each epoch that the run has measured."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dfa_cli.console.values import number

METRICS = "metrics.csv"
_END_BYTES = 2000  # enough for the last lines, whatever is measured


def read_curves(folder: str | os.PathLike[str]) -> dict[str, list[float | None]]:
    """Reads the columns, one value an epoch; `{}` when there are none, and `None` where nothing was measured."""
    names, rows = _read(folder)
    return {name: [number(row[i]) for row in rows] for i, name in enumerate(names)}


def rows_until(folder: Path, epoch: int) -> list[dict[str, Any]]:
    """Reads the lines of the epochs up to `epoch`, as dictionaries; whole numbers stay whole."""
    names, rows = _read(folder)
    return [dict(zip(names, row, strict=True)) for row in rows if row[0] is not None and row[0] <= epoch]


def progress_of(folder: Path) -> tuple[int, float | None]:
    """Reads the last epoch and its validation accuracy; `(0, None)` before the first.

    Only the end of the file is read, since a sweep asks several times a second.
    """
    names, rows = _read(folder, _END_BYTES)
    last = dict(zip(names, rows[-1], strict=True)) if rows else {}
    epoch, accuracy = number(last.get("epoch")), last.get("validation_accuracy")
    return (0, None) if epoch is None or accuracy is None else (int(epoch), accuracy)


def metrics_line(values: Iterable[Any]) -> str:
    """A line of the file: the shortest texts that read back as the same numbers, nothing for `None`."""
    cells = ("" if value is None else value if isinstance(value, str) else repr(value) for value in values)
    return ",".join(cells) + "\n"


def metrics_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """A whole file with these lines; empty without any."""
    return "".join([metrics_line(rows[0]), *(metrics_line(row.values()) for row in rows)]) if rows else ""


def _read(folder: str | os.PathLike[str], end: int | None = None) -> tuple[list[str], list[list[Any]]]:
    """The heading, and the values of each epoch; of the last `end` bytes only, if given.

    A last line without its newline was cut short by the run's end and is left out. So is a line that does not read
    as numbers. Where an epoch stands twice, as after a resumed run, the later line counts.
    """
    try:
        with open(os.path.join(folder, METRICS), "rb") as file:
            heading = file.readline().decode(errors="replace")
            if end is not None:
                file.seek(max(file.tell(), file.seek(0, io.SEEK_END) - end))
            lines = file.read().decode(errors="replace").split("\n")[:-1]
    except OSError:
        return [], []
    if not heading.endswith("\n"):
        return [], []
    names = [name.strip() for name in heading.split(",")]
    rows: dict[Any, list[Any]] = {}
    for line in lines:
        cells = line.split(",")
        if len(cells) == len(names):
            try:
                values = [_value(cell.strip()) for cell in cells]
            except ValueError:
                continue
            rows[values[0]] = values
    return names, list(rows.values())


def _value(cell: str) -> float | None:
    if not cell:
        return None
    return int(cell) if cell.isdecimal() else float(cell)
