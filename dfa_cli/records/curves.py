"""Reads and writes `metrics.csv` in a run's folder: a heading, then one line for each epoch that was measured."""

from __future__ import annotations

import io
import itertools
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from dfa_cli.console.values import number

METRICS = "metrics.csv"
LARGEST_EPOCH = 10**12  # no run gets so far; a larger number is damage
_END_BYTES = 2000  # enough for the last lines, whatever columns are measured


def read_curves(folder: str | os.PathLike[str]) -> dict[str, list[float | None]]:
    """Reads the columns of `metrics.csv`, one value per epoch.

    A value that was not measured, or is not finite, is `None`. Without a file to read, the result is `{}`.
    """
    names, rows = _read(folder)
    return {name: [number(row[i]) for row in rows] for i, name in enumerate(names)}


def rows_until(folder: Path, epoch: float = math.inf) -> list[dict[str, Any]]:
    """Reads the lines of the epochs up to `epoch` as dictionaries; whole numbers stay `int`."""
    names, rows = _read(folder)
    return [dict(zip(names, row, strict=True)) for row in rows if row[0] is not None and row[0] <= epoch]


def steady_seconds(seconds: Sequence[float | None]) -> float | None:
    """Computes the training time without what only the first epoch of a process pays, such as loading libraries.

    It is the median of an epoch, from the second one on, times the number of epochs. `seconds`: the column of this
    name, which counts from the start of training.
    """
    ends = [0.0, *(end for end in seconds if end is not None)]
    epochs = [end - start for start, end in itertools.pairwise(ends)]
    return median(epochs[1:] or epochs) * len(epochs) if epochs else None


def progress_of(folder: Path) -> tuple[int, float | None]:
    """Returns the last epoch and its validation accuracy, or `(0, None)` before the first epoch.

    Only the end of the file is read, because a sweep calls this function several times a second.
    """
    names, rows = _read(folder, _END_BYTES)
    last = dict(zip(names, rows[-1], strict=True)) if rows else {}
    epoch, accuracy = number(last.get("epoch")), last.get("validation_accuracy")
    return (0, None) if epoch is None or accuracy is None else (int(epoch), accuracy)


def metrics_line(values: Iterable[Any]) -> str:
    """Formats one line of the file.

    A number becomes the shortest text that reads back as the same number, and `None` becomes an empty cell.
    """
    cells = ("" if value is None else value if isinstance(value, str) else repr(value) for value in values)
    return ",".join(cells) + "\n"


def metrics_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Formats a whole `metrics.csv` with these rows. Without rows the text is empty."""
    return "".join([metrics_line(rows[0]), *(metrics_line(row.values()) for row in rows)]) if rows else ""


def _read(folder: str | os.PathLike[str], end: int | None = None) -> tuple[list[str], list[list[Any]]]:
    """Reads the heading and the values of each epoch; with `end`, only the epochs in the last `end` bytes.

    A last line without a newline is left out, because the run ended while writing it. A line with cells that are not
    numbers is left out too, and one whose first cell is no epoch. If an epoch has two lines, as after a resumed run,
    the later line counts.
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
            if names[0] != "epoch" or (isinstance(values[0], int) and values[0] <= LARGEST_EPOCH):
                rows[values[0]] = values
    return names, list(rows.values())


def _value(cell: str) -> float | None:
    if not cell:
        return None
    return int(cell) if cell.isdecimal() else float(cell)
