"""One row of a comparison: the runs that agree on its key, and their statistics."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dfa_cli.comparison.grouping import key_value, shortest_names
from dfa_cli.comparison.statistics import Difference, deviation, fraction_interval, interval, mean
from dfa_cli.console.values import MISSING, enumeration, format_value, sort_key, with_s
from dfa_cli.records.fallback import data_of_row
from dfa_cli.records.measures import BY_NAME, Metric
from dfa_cli.records.run import Run

ENERGY = BY_NAME["modelled_joules"]
Unit = tuple[str, ...]  # what one value of the metric belongs to: the seed, or a seed and other averaged keys


def unit_in_words(units: Sequence[str], count: int = 1) -> str:
    """Names what one value of the metric belongs to: `seed`, `seeds`, or `combination of seed and device`."""
    names = [key.replace("/", ".").rpartition(".")[2] for key in units]
    return (
        with_s(names[0], count)
        if len(names) == 1
        else f"{with_s('combination', count)} of {enumeration(names)}"
    )


@dataclass
class Group:
    """The runs that agree on all columns, which make one row.

    `key`: column -> value. `metric`: what is compared. `runs`: all runs of the row. `counted`: the completed runs, one
    for each seed. `values`: the metric of the counted runs. `units`: the seeds of the counted runs. `by_unit`: seed ->
    value. `absent`: reason -> the seeds that are not counted for this reason (`{"failed": ["3"], "missing": ["7"]}`).
    `difference`: the difference from the baseline. Where it is `None`, `why_no_difference` has the reason, and `remedy`
    the baseline with which the row would have one, if there is such a baseline. `set_by_hand`: the values that a user
    set, and in which the row differs from its baseline, in words.
    """

    key: dict[str, Any]
    metric: Metric
    runs: list[Run]
    counted: list[Run]
    values: list[float]
    units: list[Unit]
    by_unit: dict[Unit, float]
    best: float | None
    absent: dict[str, list[str]] = field(default_factory=dict)
    difference: Difference | None = None
    set_by_hand: str = ""
    why_no_difference: str = ""
    remedy: str = ""
    is_baseline: bool = False

    @property
    def shown(self) -> list[Run]:
        """The runs that a row tells of: the counted ones, or all where none is counted."""
        return self.counted or self.runs

    @property
    def data(self) -> str:
        """The data set of the row, with a mark for a stand-in: `digits_graph for cora`."""
        return data_of_row(self.shown)

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
        """The 95 % confidence interval of the mean, from three runs on; that of an accuracy stays within 0 and 1."""
        return interval_of(self.metric, self.values)

    def measured(self, metric: Metric) -> list[float]:
        """Returns another metric of the counted runs that have measured it.

        Runs that took no light have no energy. Beside runs that took some, their frames, which are 0, do not count
        either: the frames and the energy of a row are those of the same runs.
        """
        runs = self.counted
        if metric.name == "frames":
            runs = [run for run in runs if ENERGY.value_of(run) is not None] or runs
        return [value for run in runs if (value := metric.value_of(run)) is not None]

    def average(self, metric: Metric) -> float | None:
        """Returns the mean of another metric over the runs that have measured it, or `None` where none has."""
        values = self.measured(metric)
        return mean(values) if values else None

    def label(self, without: Sequence[str] = ()) -> str:
        """Names the row: `dfa, opu_sim, lr 0.01`. A text stands alone, and any other value follows its key."""
        names = shortest_names([key for key in self.key if key not in without])
        values = {key: self.key[key] for key in names if self.key[key] is not MISSING}
        words = [
            self.data
            if key == "data"
            else format_value(value)
            if isinstance(value, str)
            else f"{names[key]} {format_value(value)}"
            for key, value in values.items()
        ]
        return ", ".join(words) or "all runs"


def interval_of(metric: Metric, values: Sequence[float]) -> tuple[float, float] | None:
    """Computes the 95 % confidence interval of the mean of a metric, from three values on."""
    return (fraction_interval if metric.unit == "%" else interval)(values)


def make_group(
    key: dict[str, Any], members: list[Run], metric: Metric, units: Sequence[str], once: bool
) -> tuple[Group, int]:
    """Makes a row of the runs `members`, and returns it with the number of completed runs left out as repetitions.

    `units` are the keys that identify a value, usually the seed. With `once`, only the newest run of each unit
    counts. A unit with a counted run is not absent, whatever its other runs did.
    """
    counted: list[Run] = []
    values: list[float] = []
    counted_units: list[Unit] = []
    by_unit: dict[Unit, list[float]] = {}
    absent: dict[str, dict[str, None]] = {}
    uncounted: list[tuple[Unit, str]] = []
    repeated = 0
    for run in members:  # newest first
        unit = tuple(format_value(key_value(run, part)) for part in units)
        value = metric.value_of(run) if run.status == "completed" else None
        if value is None:
            uncounted.append((unit, "without a value" if run.status == "completed" else run.status))
        elif once and unit in by_unit:
            repeated += 1
        else:
            counted.append(run)
            values.append(value)
            counted_units.append(unit)
            by_unit.setdefault(unit, []).append(value)
    for unit, reason in uncounted:
        if unit not in by_unit:
            absent.setdefault(reason, {})["/".join(unit)] = None
    best = (max if metric.up else min)(values) if values else None
    means = {unit: mean(unit_values) for unit, unit_values in by_unit.items()}
    sorted_absent = {reason: sorted(names, key=_numeric_order) for reason, names in sorted(absent.items())}
    group = Group(key, metric, members, counted, values, counted_units, means, best, sorted_absent)
    return group, repeated


def _numeric_order(word: str) -> tuple[int, float, str]:
    try:
        return sort_key(float(word))
    except ValueError:
        return sort_key(word)


def mark_missing(groups: Sequence[Group], units: Sequence[str]) -> None:
    """Marks a seed as missing in a group without it, if a sweep that trained the group has it on the same data set.

    A sweep trains every combination with every seed. A run that was started alone asks for no other seed.
    """
    units_of_sweep: dict[tuple[str, str], set[str]] = {}  # for each sweep and data set
    asked = [{place for run in group.runs if (place := _sweep_of(run))} for group in groups]
    for group in groups:
        for run in group.runs:
            if place := _sweep_of(run):
                unit = "/".join(format_value(key_value(run, part)) for part in units)
                units_of_sweep.setdefault(place, set()).add(unit)
    for group, places in zip(groups, asked, strict=True):
        present = {"/".join(unit) for unit in group.by_unit}
        present.update(name for names in group.absent.values() for name in names)
        if missing := set().union(*(units_of_sweep[place] for place in places)) - present:
            group.absent["missing"] = sorted(missing, key=_numeric_order)


def _sweep_of(run: Run) -> tuple[str, str] | None:
    """Returns the folder of the sweep that made a run, and its data set; `None` for a run that was started alone.

    The folder of a sweep's job is called `NUMBER_ID`, and that of a single run begins with the time.
    """
    folder, name = os.path.split(run.folder)
    number, _, rest = name.partition("_")
    return (folder, format_value(run.choices.get("data"))) if number.isdecimal() and rest == run.id else None
