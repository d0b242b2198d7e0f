"""The columns of a comparison: their headings, and the cell of each row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dfa_cli.comparison.comparison import Comparison
from dfa_cli.comparison.group import Group
from dfa_cli.comparison.grouping import key_value, shortest_names
from dfa_cli.comparison.statistics import SAME_DIFFERENCE, Difference
from dfa_cli.console.table import truncate
from dfa_cli.console.values import MISSING, NOTHING, enumeration, format_value, plural, quantity, with_s
from dfa_cli.errors import DfaError, nearest
from dfa_cli.records.fallback import fallback_of_row
from dfa_cli.records.measures import ALIASES, BY_NAME, Metric


@dataclass(frozen=True)
class Column:
    """A column of a comparison.

    `cell`: formats a row's cell for people. `raw`: returns the names and values of the cell for programs, in the units
    of files. `left`: whether the column is aligned to the left. `note`: what a reader has to know of the column and its
    heading does not say, in sentences. `partial`: the rows of which not every run has a value, in words.
    """

    name: str
    heading: str
    cell: Callable[[Group], str]
    raw: Callable[[Group], dict[str, Any]]
    left: bool = False
    note: str = ""
    partial: str = ""

    def has_value(self, groups: Sequence[Group]) -> bool:
        """Tells whether a cell of these rows says anything."""
        return any(self.cell(group) not in ("", NOTHING) for group in groups)


LONGEST = 60  # cells of the value of a key; a longer one is cut
COSTS = ("time", "frames", "energy")
TESTS = ("difference", "p", "ci_equal", "p_equal", "verdict")
STANDARD = ("mean_std", "n", "ci", "best", *TESTS, "absent", "warnings", *COSTS)
NAMES = ("mean_std", "mean", "std", "n", "ci", "best", *TESTS, "absent", "warnings")
# Columns that say what a reader must not overlook. They are there also when they are not wanted.
ALWAYS = ("absent", "warnings")
_COST_HEADINGS = {
    "steady_seconds": "training time",
    "frames": "frames",
    "modelled_joules": "energy (modelled)",
    "modelled_seconds": "time (modelled)",
}


def columns(
    result: Comparison, wanted: Sequence[str] = (), precision: int | None = None, for_people: bool = True
) -> list[Column]:
    """Returns the columns of the keys, then the `wanted` columns, or the standard columns if `wanted` is empty.

    A column that is there already, such as that of a key, is not repeated.

    Standard columns that are empty are left out `for_people`. A program finds the same columns whatever the runs gave.

    The column `data` is there, too, when a run used a stand-in for its default data set.

    If some seeds are not counted, the column `absent` is added even if it is not wanted, and the column `warnings` if
    the device of a run has warned.

    Raises `DfaError` for an unknown column.
    """
    names = shortest_names(key_columns(result))
    chosen = [
        _data_column(result) if key == "data" else _key_column(key, names[key]) for key in key_columns(result)
    ]
    for name in wanted or STANDARD:
        if not wanted and not _worth_showing(name, result, for_people):
            continue
        column = _column(name, result, precision)
        if not wanted and for_people and not column.has_value(result.groups):
            continue
        if not any(_is_same(column, other) for other in chosen):
            chosen.append(column)
    if wanted:
        chosen += [
            _column(name, result, precision)
            for name in ALWAYS
            if name not in wanted and _worth_showing(name, result, for_people)
        ]
    return chosen


def notes_on_columns(chosen: Sequence[Column]) -> list[str]:
    """Explains the columns whose heading says too little, and names the rows of which not every run has a value."""
    notes = [column.note for column in chosen if column.note]
    for words in dict.fromkeys(column.partial for column in chosen if column.partial):
        heads = [column.heading for column in chosen if column.partial == words]
        notes.append(f"{enumeration(heads)}: the mean over the runs that have a value, {words}.")
    return notes


def _is_same(one: Column, other: Column) -> bool:
    """Tells whether two columns show the same, as `time` and `total_seconds` do."""
    return ALIASES.get(one.name, one.name) == ALIASES.get(other.name, other.name)


def key_columns(result: Comparison) -> list[str]:
    """Returns the keys that have a column: those that tell the rows apart, and `data` when a run used a stand-in.

    A table may be cut out without the lines around it, so its rows name a stand-in themselves.
    """
    added = ["data"] if result.has_stand_ins and "data" not in result.columns else []
    return [*added, *result.columns]


def _worth_showing(name: str, result: Comparison, for_people: bool) -> bool:
    """Tells whether a standard column has anything to show."""
    if name in ("ci_equal", "p_equal") and result.equivalent is None:
        return False
    if name == "ci_equal" and for_people:
        return any(group.difference and group.difference.ci_equivalent for group in result.groups)
    if name in TESTS:
        return bool(result.baseline) and (name == "difference" or result.tests > 0 or not for_people)
    if name == "absent":
        return any(group.absent for group in result.groups)
    if name == "warnings":
        return any(run.warnings for group in result.groups for run in group.shown)
    if name in COSTS:
        metric = BY_NAME[ALIASES.get(name, name)]
        return metric != result.metric and any(group.average(metric) for group in result.groups)
    if name == "ci":
        return any(group.n > 1 for group in result.groups)
    return name != "best" or any(group.n > 1 for group in result.groups)


def _key_column(key: str, heading: str) -> Column:
    def raw(group: Group) -> dict[str, Any]:
        value = group.key[key]
        return {key: None if value is MISSING else value}

    return Column(key, heading, lambda group: truncate(format_value(group.key[key]), LONGEST), raw, left=True)


def _data_column(result: Comparison) -> Column:
    def raw(group: Group) -> dict[str, Any]:
        names = list(dict.fromkeys(run.choices.get("data") for run in group.shown))
        cells: dict[str, Any] = {"data": names[0] if len(names) == 1 else names}
        return cells | ({"data_fallback": fallback_of_row(group.shown)} if result.has_stand_ins else {})

    return Column("data", "data", lambda group: group.data, raw, left=True)


def _column(name: str, result: Comparison, precision: int | None) -> Column:
    metric = result.metric

    def show(value: float | None) -> str:
        return metric.show(value, precision)

    if name == "mean_std":
        spread = any(group.std is not None for group in result.groups)
        return Column(
            name,
            "mean ± std" if spread else "value",
            lambda g: show(g.mean) if g.std is None else f"{show(g.mean)} ± {show(g.std)}",
            lambda g: {"mean": g.mean, "std": g.std},
        )
    if name == "mean":
        return Column(name, "mean", lambda g: show(g.mean), lambda g: {"mean": g.mean})
    if name == "std":
        return Column(name, "std", lambda g: show(g.std), lambda g: {"std": g.std})
    if name == "n":
        return Column(name, "n", lambda g: str(g.n), lambda g: {"n": g.n})
    if name == "ci":
        counts = {group.n for group in result.groups}
        return Column(
            name,
            "both values" if max(counts) == 2 else "95 % CI",
            lambda g: ", ".join(map(show, sorted(g.values))) if g.n == 2 else format_interval(g.ci, show),
            lambda g: _raw_interval("ci", g.ci),
            note="Two runs have no interval: both values are shown." if max(counts) > 2 in counts else "",
        )
    if name == "best":
        return Column(name, "best", lambda g: show(g.best), lambda g: {"best": g.best})
    if name == "difference":
        heading = f"vs {result.baseline or 'baseline'}"
        return Column(
            name,
            heading,
            lambda g: format_difference(g, show),
            _raw_difference,
            note=note_on_differences(result, heading),
        )
    if name == "ci_equal":
        return Column(
            name,
            "90 % CI",
            lambda g: _format_interval_of_difference(g.difference and g.difference.ci_equivalent, show),
            lambda g: _raw_interval("difference_ci90", g.difference and g.difference.ci_equivalent),
        )
    if name == "p":
        return Column(name, "p", _p, lambda g: _raw_p(g, result.test))
    if name == "p_equal":
        return Column(name, "p (equal)", _p_equal, _raw_p_equal)
    if name == "verdict":
        return Column(name, "verdict", _verdict, _raw_verdict, left=True)
    if name == "absent":
        return Column(
            name,
            "not counted",
            lambda g: describe_absent(g.absent, result.units),
            lambda g: {"absent": g.absent},
            left=True,
        )
    if name == "warnings":
        return Column(
            name, name, _warned, lambda g: {"warned_runs": sum(bool(run.warnings) for run in g.shown)}
        )
    return _other_column(name, result, precision)


def _other_column(name: str, result: Comparison, precision: int | None) -> Column:
    """Makes a column of the mean of another metric, or of the values of a configuration key."""
    try:
        other = result.keys.metric(name)
    except DfaError:
        pass
    else:
        name = name if name in COSTS else other.name
        return _average_column(name, other, result.groups, precision if other.unit == "%" else None)
    try:
        key = result.keys.resolve(name)
    except DfaError as error:
        close = nearest(name, [*NAMES, *COSTS, *ALIASES, *BY_NAME])
        hint = f"; near it: {', '.join(close)}" if close else ""
        raise DfaError(
            f"--columns {name}: {error}; columns are {', '.join((*NAMES, *COSTS))}{hint}"
        ) from None

    def values(group: Group) -> list[str]:
        return list(dict.fromkeys(format_value(key_value(run, key)) for run in group.counted or group.runs))

    def raw(group: Group) -> dict[str, Any]:
        different = values(group)
        value = key_value((group.counted or group.runs)[0], key)
        return {key: (None if value is MISSING else value) if len(different) == 1 else different}

    heading = shortest_names(list(dict.fromkeys([*result.columns, key])))[key]
    return Column(key, heading, lambda group: ", ".join(values(group)), raw, left=True)


def _warned(group: Group) -> str:
    """Say how many runs of the row the device has warned of: `! in 2 of 5 runs`."""
    warned = sum(bool(run.warnings) for run in group.shown)
    return f"! in {warned} of {plural(len(group.shown), 'run')}" if warned else ""


def _average_column(name: str, metric: Metric, groups: Sequence[Group], precision: int | None) -> Column:
    def cell(group: Group) -> str:
        average = group.average(metric)
        if metric.name in ("frames", "rows", "coefficients"):
            return NOTHING if average is None else quantity(round(average))
        return metric.show(average, precision)

    heading = _COST_HEADINGS.get(metric.name) or (
        metric.title if metric.unit in ("%", "MB") else metric.words
    )
    note = ""
    if metric.name == "steady_seconds":
        note = "Training time: the median epoch times the number of epochs, without starting up and reading the data."
    counts = [(group, len(group.measured(metric))) for group in groups]
    some = [
        f"{count} of {group.n} in the row {group.label()}" for group, count in counts if 0 < count < group.n
    ]
    more = [f"some in {plural(len(some) - 3, 'more row')}"] if len(some) > 3 else []
    partial = enumeration([*some[:3], *more])
    return Column(
        name, heading, cell, lambda group: {metric.name: group.average(metric)}, note=note, partial=partial
    )


def format_interval(ends: tuple[float, float] | None, show: Callable[[float | None], str]) -> str:
    """Formats an interval: `[79.5, 84.5]`."""
    return NOTHING if ends is None else f"[{', '.join(show(end) for end in ends)}]"


def format_signed(value: float, show: Callable[[float | None], str]) -> str:
    """Formats a number with its sign: `+0.4`, `-1.2`; a number that rounds to zero has no sign: `0.0`."""
    size = show(abs(value))
    if not any(digit in "123456789" for digit in size):
        return size
    return f"{'+' if value > 0 else '-'}{size}"


def format_difference(group: Group, show: Callable[[float | None], str], with_interval: bool = True) -> str:
    """Formats the difference from the baseline, by default with its interval: `-0.3 [-0.4, -0.2]`.

    Two pairs are no result, so both differences are shown. The number of pairs is there where it is not that of runs.
    """
    if group.is_baseline:
        return "baseline"
    difference = group.difference
    if difference is None:
        return NOTHING
    if difference.ci is None:
        words = ", ".join(format_signed(value, show) for value in sorted(difference.values))
    elif with_interval:
        words = (
            f"{format_signed(difference.mean, show)} {_format_interval_of_difference(difference.ci, show)}"
        )
    else:
        return format_signed(difference.mean, show)
    return f"{words} ({plural(difference.n, 'pair')})" if difference.n < group.n else words


def note_on_differences(result: Comparison, heading: str, with_interval: bool = True) -> str:
    """Says what the column of the differences shows."""
    counts = {group.difference.n for group in result.groups if group.difference}
    said = []
    if counts and max(counts) > 2:
        what = ", with its 95 % confidence interval" if with_interval else ""
        said.append(f"{heading}: the mean difference over common {result.seeds}{what}.")
    if counts - {1} and min(counts) < 3:
        said.append(
            "Of fewer than three pairs each difference is shown."
            if said
            else f"{heading}: the difference of each pair."
        )
    return " ".join(said)


def _format_interval_of_difference(
    ends: tuple[float, float] | None, show: Callable[[float | None], str]
) -> str:
    return format_interval(ends, lambda end: format_signed(end or 0.0, show).removeprefix("+"))


def _p(group: Group) -> str:
    return _format_p(group.difference, "p", "significant")


def _p_equal(group: Group) -> str:
    return _format_p(group.difference, "p_equivalent", "equivalent")


def _format_p(difference: Difference | None, name: str, verdict: str) -> str:
    """Formats a p-value, with a star if it is below 0.05 after Holm's correction."""
    p = getattr(difference, name, None)
    if p is None:
        return NOTHING
    shown = "<0.001" if p < 0.0005 else f"{p:.3f}"
    return f"{shown} *" if getattr(difference, verdict) else shown


def _verdict(group: Group) -> str:
    """Says what the tests against the baseline have shown. Only the test for equality can show that rows are equal."""
    difference = group.difference
    if difference and difference.mean == 0 and difference.why == SAME_DIFFERENCE:
        return "identical"
    if difference is None or difference.p is None:
        return NOTHING
    side = "higher" if difference.mean > 0 else "lower"
    if difference.equivalent:
        return f"equal, slightly {side}" if difference.significant else "equal"
    if difference.significant:
        return side
    return "no difference seen"


def _raw_verdict(group: Group) -> dict[str, Any]:
    verdict = _verdict(group)
    return {"verdict": None if verdict == NOTHING else verdict}


def _raw_difference(group: Group) -> dict[str, Any]:
    difference = group.difference
    return {
        "difference": difference.mean if difference else None,
        **_raw_interval("difference_ci", difference and difference.ci),
        "pairs": difference.n if difference else None,
        "why_no_difference": group.why_no_difference or None,
    }


def _raw_interval(name: str, ends: tuple[float, float] | None) -> dict[str, Any]:
    return dict(zip((f"{name}_low", f"{name}_high"), ends or (None, None), strict=True))


def _raw_p(group: Group, test: str) -> dict[str, Any]:
    difference = group.difference
    was_tested = difference is not None and difference.p is not None
    return {
        "p": difference.p if difference else None,
        "test": test if was_tested else None,
        "significant_after_holm": difference.significant if difference else None,
    }


def _raw_p_equal(group: Group) -> dict[str, Any]:
    difference = group.difference
    return {
        "p_equivalent": difference.p_equivalent if difference else None,
        "equivalent_after_holm": difference.equivalent if difference else None,
    }


def describe_absent(absent: dict[str, list[str]], units: Sequence[str] = ("seed",)) -> str:
    """Says which seeds are not counted and why: `seed 3 failed, seeds 7-9 missing`."""
    word = "/".join(unit.rpartition(".")[2] for unit in units)
    return ", ".join(
        f"{with_s(word, len(names))} {shorten_ranges(names)} {reason}" for reason, names in absent.items()
    )


def shorten_ranges(names: Sequence[str]) -> str:
    """Lists names, and joins three or more consecutive numbers: `["1", "2", "3", "7"]` -> `1-3, 7`."""
    if not all(name.isdigit() for name in names):
        return ", ".join(names)
    ranges: list[list[int]] = []
    for number in sorted(int(name) for name in names):
        if ranges and number == ranges[-1][-1] + 1:
            ranges[-1].append(number)
        else:
            ranges.append([number])
    return ", ".join(
        f"{numbers[0]}-{numbers[-1]}" if len(numbers) > 2 else ", ".join(str(number) for number in numbers)
        for numbers in ranges
    )
