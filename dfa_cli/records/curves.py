"""The curves of a run: its `metrics.csv`."""

from __future__ import annotations

import os

from dfa_cli.results.values import number


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
