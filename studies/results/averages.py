"""Averages over runs that differ only in the seed, as numbers and as text for the page."""

from __future__ import annotations

from collections.abc import Sequence

from dfa_cli.comparison.statistics import deviation, interval, mean
from studies.results.table import Row


def numbers(rows: Sequence[Row], column: str = "test") -> list[float]:
    return [float(row[column]) for row in rows if row["status"] == "completed" and row[column]]


def average(rows: Sequence[Row], column: str = "test") -> float:
    """Return the mean over the runs, or zero where all of them failed."""
    return mean(numbers(rows, column) or [0.0])


def percent(rows: Sequence[Row], column: str = "test") -> str:
    """Write mean and standard deviation over the runs in per cent, `82.4 ± 0.6`, and how many runs failed."""
    values = [100 * value for value in numbers(rows, column)]
    failed = sum(row["status"] == "failed" for row in rows)
    return _format(values, deviation(values), 1) + (f" ({failed} of {len(rows)} failed)" if failed else "")


def points_between(first: Sequence[Row], second: Sequence[Row]) -> tuple[float, tuple[float, float] | None]:
    """Return the mean of `first - second` in points over the seeds that both have, and its 95 % interval."""
    one, other = (
        {row["seed"]: value for row in rows for value in numbers([row])} for rows in (first, second)
    )
    differences = [100 * (one[seed] - other[seed]) for seed in one if seed in other]
    return (mean(differences), interval(differences)) if differences else (float("nan"), None)


def alignment(rows: Sequence[Row], block: int, kind: str = "alignment") -> str:
    """Write mean and standard error of a block's alignment over the runs, `0.51 ± 0.10`."""
    values = numbers(rows, f"{kind}_{block}")
    return _format(values, _standard_error(values), 2)


def certainty(rows: Sequence[Row], block: int) -> float:
    """Return the mean of a block's alignment in units of its standard error, or 0 where there are too few runs."""
    values = numbers(rows, f"alignment_{block}")
    error = _standard_error(values)
    return mean(values) / error if error else 0.0


def _standard_error(values: Sequence[float]) -> float | None:
    spread = deviation(values)
    return None if spread is None else spread / len(values) ** 0.5


def _format(values: Sequence[float], spread: float | None, digits: int) -> str:
    words = f"{mean(values):.{digits}f}" if values else "–"
    return words + ("" if spread is None else f" ± {spread:.{digits}f}")
