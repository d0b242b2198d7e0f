"""Averages over the runs that differ in the seed, in numbers and as the page writes them."""

from __future__ import annotations

from collections.abc import Sequence

from dfa_cli.comparison.statistics import deviation, interval, mean
from studies.results.table import Row


def numbers(rows: Sequence[Row], column: str = "test") -> list[float]:
    return [float(row[column]) for row in rows if row["status"] == "completed" and row[column]]


def average(rows: Sequence[Row], column: str = "test") -> float:
    """The mean over the runs; zero where all of them failed."""
    return mean(numbers(rows, column) or [0.0])


def percent(rows: Sequence[Row], column: str = "test") -> str:
    """`82.4 ± 0.6`: mean and standard deviation over the runs, in per cent; failures are counted beside it."""
    values = [100 * value for value in numbers(rows, column)]
    failed = sum(row["status"] == "failed" for row in rows)
    return _written(values, deviation(values), 1) + (f" ({failed} of {len(rows)} failed)" if failed else "")


def points_between(first: Sequence[Row], second: Sequence[Row]) -> tuple[float, tuple[float, float] | None]:
    """Mean of `first - second` in points over the seeds that both have, and its 95 % confidence interval."""
    one, other = (
        {row["seed"]: value for row in rows for value in numbers([row])} for rows in (first, second)
    )
    differences = [100 * (one[seed] - other[seed]) for seed in one if seed in other]
    return (mean(differences), interval(differences)) if differences else (float("nan"), None)


def aligned(rows: Sequence[Row], block: int, kind: str = "alignment") -> str:
    """`0.51 ± 0.10`: mean and standard error of a block's alignment over the runs."""
    values = numbers(rows, f"{kind}_{block}")
    return _written(values, _standard_error(values), 2)


def certainty(rows: Sequence[Row], block: int) -> float:
    """The mean of a block's alignment in units of its standard error; 0 where too few runs tell."""
    values = numbers(rows, f"alignment_{block}")
    error = _standard_error(values)
    return mean(values) / error if error else 0.0


def _standard_error(values: Sequence[float]) -> float | None:
    spread = deviation(values)
    return None if spread is None else spread / len(values) ** 0.5


def _written(values: Sequence[float], spread: float | None, digits: int) -> str:
    words = f"{mean(values):.{digits}f}" if values else "–"
    return words + ("" if spread is None else f" ± {spread:.{digits}f}")
