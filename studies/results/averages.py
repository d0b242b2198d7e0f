"""Averages over runs that differ only in the seed, as numbers and as text for the page."""

from __future__ import annotations

from collections.abc import Sequence

from dfa_cli.comparison.statistics import deviation, interval, mean, paired_difference
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


def by_seed(rows: Sequence[Row], column: str = "test") -> dict[str, float]:
    """Return a value in per cent for each seed."""
    return {row["seed"]: 100 * value for row in rows for value in numbers([row], column)}


def points_between(
    first: Sequence[Row], second: Sequence[Row], column: str = "test"
) -> tuple[float, tuple[float, float] | None]:
    """Return the mean of `first - second` in points over the seeds that both have, and its 95 % interval."""
    one, other = by_seed(first, column), by_seed(second, column)
    differences = [one[seed] - other[seed] for seed in one if seed in other]
    return (mean(differences), interval(differences)) if differences else (float("nan"), None)


def difference(
    first: Sequence[Row], second: Sequence[Row], column: str = "test", with_p: bool = False
) -> str:
    """Write `first - second` with its interval, `-0.9 [-1.6, -0.2]`, and with the p-value of the paired t-test."""
    one, other = by_seed(first, column), by_seed(second, column)
    if not one.keys() & other.keys():
        return "–"
    found = paired_difference(one, other)
    p = "" if not with_p or found.p is None else f", p {'< 0.001' if found.p < 0.001 else f'= {found.p:.3f}'}"
    return with_interval(found.mean, found.ci) + p


def with_interval(points: float, ci: tuple[float, float] | None) -> str:
    words = f"{round(points, 1) + 0.0:+.1f}"  # adding 0.0 turns -0.0 into 0.0
    return words + (f" [{ci[0]:.1f}, {ci[1]:.1f}]" if ci else "")


def alignment(rows: Sequence[Row], block: int, kind: str = "alignment") -> str:
    """Write the mean of a block's alignment over the runs and half the width of its 95 % interval, `0.51 ± 0.20`."""
    values = numbers(rows, f"{kind}_{block}")
    return _format(values, _half_width(values), 2)


def certainty(rows: Sequence[Row], block: int) -> float:
    """Return the mean of a block's alignment in half widths of its interval, or 0 where there are too few runs."""
    values = numbers(rows, f"alignment_{block}")
    half_width = _half_width(values)
    return mean(values) / half_width if half_width else 0.0


def _half_width(values: Sequence[float]) -> float | None:
    ends = interval(values)
    return None if ends is None else (ends[1] - ends[0]) / 2


def _format(values: Sequence[float], spread: float | None, digits: int) -> str:
    words = f"{mean(values):.{digits}f}" if values else "–"
    return words + ("" if spread is None else f" ± {spread:.{digits}f}")
