"""One row of a comparison: the runs that agree on its key, and what comes of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dfa_cli.comparison.grouping import key_value, shortest_names
from dfa_cli.comparison.statistics import Difference, deviation, interval, mean
from dfa_cli.console.values import MISSING, format_value, sort_key
from dfa_cli.records.measures import Metric
from dfa_cli.records.run import Run

Unit = tuple[str, ...]  # what a value belongs to: the seed, as a rule


@dataclass
class Group:
    """The runs that agree on all columns.

    `key`: column -> value; `counted`: the completed runs, one a seed; `absent`: why a seed does not count ->
    seeds (`{"failed": ["3"], "missing": ["7"]}`); `difference`: to the baseline, `None` without one.
    """

    key: dict[str, Any]
    runs: list[Run]
    counted: list[Run]
    values: list[float]
    by_unit: dict[Unit, float]
    best: float | None
    absent: dict[str, list[str]] = field(default_factory=dict)
    difference: Difference | None = None
    is_baseline: bool = False

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float | None:
        return mean(self.values) if self.values else None

    @property
    def std(self) -> float | None:
        return deviation(self.values)

    @property
    def ci(self) -> tuple[float, float] | None:
        return interval(self.values)

    def average(self, metric: Metric) -> float | None:
        """The mean of another metric over the runs that count."""
        known = [got for run in self.counted if (got := metric.of(run)) is not None]
        return mean(known) if known else None

    def label(self, without: Sequence[str] = ()) -> str:
        """`dfa, opu_sim, lr 0.01`: a choice speaks for itself, a number says what it is of."""
        names = shortest_names([key for key in self.key if key not in without])
        held = {key: self.key[key] for key in names if self.key[key] is not MISSING}
        words = [
            format_value(one) if isinstance(one, str) else f"{names[key]} {format_value(one)}"
            for key, one in held.items()
        ]
        return ", ".join(words) or "all runs"


def make_group(
    key: dict[str, Any], members: list[Run], metric: Metric, units: Sequence[str], once: bool
) -> tuple[Group, int]:
    counted: list[Run] = []
    values: list[float] = []
    by_unit: dict[Unit, list[float]] = {}
    absent: dict[str, dict[str, None]] = {}
    waiting: list[tuple[Unit, str]] = []
    again = 0
    for run in members:  # newest first
        unit = tuple(format_value(key_value(run, one)) for one in units)
        got = metric.of(run) if run.status == "completed" else None
        if got is None:
            waiting.append((unit, "without a value" if run.status == "completed" else run.status))
        elif once and unit in by_unit:
            again += 1
        else:
            counted.append(run)
            values.append(got)
            by_unit.setdefault(unit, []).append(got)
    for unit, reason in waiting:
        if unit not in by_unit:
            absent.setdefault(reason, {})["/".join(unit)] = None
    best = (max if metric.up else min)(values) if values else None
    means = {unit: mean(some) for unit, some in by_unit.items()}
    listed = {reason: sorted(names, key=_natural) for reason, names in sorted(absent.items())}
    return Group(key, members, counted, values, means, best, listed), again


def _natural(word: str) -> tuple[int, float, str]:
    try:
        return sort_key(float(word))
    except ValueError:
        return sort_key(word)


def name_missing(groups: Iterable[Group]) -> None:
    """A seed that other groups on the same data have and this one has not is missing."""
    expected: dict[str, set[str]] = {}
    for group in groups:
        known = expected.setdefault(format_value(group.key.get("data", MISSING)), set())
        known.update("/".join(unit) for unit in group.by_unit)
        known.update(name for names in group.absent.values() for name in names)
    for group in groups:
        here = {"/".join(unit) for unit in group.by_unit}
        here.update(name for names in group.absent.values() for name in names)
        if lacking := expected[format_value(group.key.get("data", MISSING))] - here:
            group.absent["missing"] = sorted(lacking, key=_natural)
