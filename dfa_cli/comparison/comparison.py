"""Compares runs: each row is a group of runs, with their mean and standard deviation over seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dfa_cli.comparison.baseline import Baseline, compare_with_baseline, filter_rows
from dfa_cli.comparison.group import Group, make_group, mark_missing
from dfa_cli.comparison.grouping import (
    by_whom,
    classify_keys,
    differs,
    group_runs,
    key_value,
    newest_per_identity,
    overridden,
    shortest_names,
)
from dfa_cli.comparison.question import Question
from dfa_cli.comparison.statistics import TEST_NAMES
from dfa_cli.console.values import MISSING, enumeration, format_value, plural, sort_key
from dfa_cli.errors import DfaError, one_of
from dfa_cli.records.code import origin, origin_in_words
from dfa_cli.records.fallback import fallback_notes
from dfa_cli.records.find import Paths, find_some
from dfa_cli.records.keys import Keys, is_tuned
from dfa_cli.records.measures import ALIASES, METRICS, Metric
from dfa_cli.records.query import Query
from dfa_cli.records.run import SUMS, Run
from dfa_cli.records.words import warning_notes

MOST_REASONS = 5  # why rows are not compared or tested, in sentences


@dataclass
class Comparison:
    """A finished comparison, which `dfa compare`, `dfa plot` and `dfa report` each show in their own way.

    `over`: the keys that each row averages over, usually the seed. `units`: these, and the keys of `averaged` that
    every run has; they identify a value of a row. `columns`: the keys that tell the rows apart. `constant`: what all
    rows share. `dependent_keys`: keys that differ only as a consequence of the columns, and those that `--by` leaves
    out and that differ between rows only. `splits`: the data splits in words. `averaged`: keys that `--by` leaves out
    and that differ between the runs of a row. `equivalent`: the margin of the test for equality, in the unit of tables.
    `named`: the keys that the baseline names. `tests`: how many tests were made against the
    baseline. `duplicates`: how many completed runs repeat another one and are left out. `along`: the key on the x axis
    of a plot. `skipped`: folders without a readable run, with the reason.
    """

    metric: Metric
    over: list[str]
    units: list[str]
    columns: list[str]
    constant: dict[str, Any]
    dependent_keys: list[str]
    groups: list[Group]
    keys: Keys
    splits: list[str]
    averaged: list[str] = field(default_factory=list)
    baseline: str | None = None
    test: str = "t"
    equivalent: float | None = None
    named: list[str] = field(default_factory=list)
    tests: int = 0
    duplicates: int = 0
    along: str | None = None
    skipped: list[tuple[str, str]] = field(default_factory=list)

    @property
    def seeds(self) -> str:
        return "seeds" if self.over == ["seed"] else ", ".join(self.over)

    @property
    def margin(self) -> str:
        """The margin within which rows may be called equal: `0.5 points`."""
        unit = f" {self.metric.unit}".rstrip()
        if self.metric.unit == "%":
            unit = " point" if self.equivalent == 1 else " points"
        return f"{self.equivalent:g}{unit}"

    @property
    def has_stand_ins(self) -> bool:
        """Whether a shown row has a run that was trained on a stand-in for its default data set."""
        return any(run.record.get("data_fallback") for group in self.groups for run in group.shown)

    def notes(self) -> list[str]:
        """Returns what a reader has to know to understand the table, one sentence each."""
        notes = []
        if self.averaged:
            notes.append(
                f"A row also averages over keys that --by does not name: {', '.join(self.averaged)}."
            )
        notes += self._notes_on_dependent_keys()
        if self.duplicates:
            runs = "run has" if self.duplicates == 1 else "runs have"
            notes.append(
                f"{self.duplicates} completed {runs} a newer run of the same configuration and seed, "
                "which counts instead."
            )
        notes += self._notes_on_origins()
        shown_runs = [run for group in self.groups for run in group.shown]
        notes += [*fallback_notes(shown_runs), *warning_notes(shown_runs)]
        if self.baseline:
            notes += self._notes_on_significance()
        return notes

    def _notes_on_dependent_keys(self) -> list[str]:
        """Names the values that differ as a consequence of the columns: those tuned for each rule, and the others."""
        notes = []
        runs = [run for group in self.groups for run in group.shown]
        typed = overridden(runs)
        dependent = [key for key in self.dependent_keys if differs(runs, key)]
        tuned = [
            key
            for key in dependent
            if is_tuned(key)
            and key not in typed
            and not self._belongs_to_a_column(key)
            and _follows_from_tuned(runs, key)
        ]
        if tuned:
            names = shortest_names([*tuned, *self.columns])
            listed = ", ".join(names[key] for key in tuned if not key.endswith("_target_"))
            where = "(conf/tuned, docs/tuning.md)"
            if without := _untuned(runs):
                notes.append(
                    f"Each rule that has tuned values {where} uses its own: {listed}. "
                    f"There are none for {enumeration(without)}."
                )
            else:
                notes.append(f"Each rule uses its own tuned values {where}: {listed}.")
        by_hand = [key for key in dependent if key in typed]
        if by_hand:
            listed = ", ".join(f"{key} ({_values(runs, key)})" for key in by_hand[:8])
            more = f" and {len(by_hand) - 8} more" if len(by_hand) > 8 else ""
            notes.append(f"Set {by_whom(runs)}, and not the same in all rows: {listed}{more}.")
        others = [
            key
            for key in dependent
            if key not in tuned and key not in by_hand and not self._belongs_to_a_column(key)
        ]
        if others:
            more = f" and {len(others) - 8} more" if len(others) > 8 else ""
            averaged = ", or with the keys averaged over" if self.averaged else ""
            notes.append(
                f"These keys differ together with the columns{averaged}: {', '.join(others[:8])}{more}."
            )
        return notes

    def _notes_on_origins(self) -> list[str]:
        """Names the rows that mix runs of different commits of dfa or different versions of packages."""
        mixed = []
        for group in self.groups:
            origins = [origin(run.provenance) for run in group.counted]
            if any(other != origins[0] for other in origins):
                words = {origin_in_words(one, other) for one in origins for other in origins if one != other}
                mixed.append(f"{group.label()} ({enumeration(sorted(words))})")
        more = f", and {len(mixed) - 3} more" if len(mixed) > 3 else ""
        return [f"Made by more than one version of the code: {'; '.join(mixed[:3])}{more}."] if mixed else []

    def _belongs_to_a_column(self, key: str) -> bool:
        """Tells whether `key` follows from a column, as `rule.scale` does from `rule`, or names a class or its code."""
        if key in SUMS:
            return True
        dotted = key.replace("/", ".")
        return dotted.endswith("._target_") or any(
            dotted.startswith(f"{column.replace('/', '.')}.")
            for column in (*self.columns, *self.over, *self.averaged)
        )

    def _notes_on_significance(self) -> list[str]:
        """Says how the differences from the baseline were tested, and which rows were not and why."""
        others = [group for group in self.groups if not group.is_baseline]
        differences = [group.difference for group in others if group.difference]
        notes = []
        if any(difference.p is not None for difference in differences):
            count = plural(self.tests, "comparison")
            notes.append(
                f"p: {TEST_NAMES[self.test]} (two-sided) over common {self.seeds} with {self.baseline}; "
                f"* p < 0.05 after Holm's correction for {count}. The intervals are not corrected."
            )
            if self.equivalent is not None:
                notes.append(
                    f"Equal: two one-sided tests, each at 0.05 after Holm's correction, show that the difference from "
                    f"{self.baseline} is less than {self.margin}. p (equal) is the larger p of the two tests."
                )
                if self.test == "t":
                    notes.append(
                        "Before this correction, p (equal) is below 0.05 exactly where the 90 % interval of the "
                        f"difference lies within {self.margin} of zero."
                    )
        equality = "" if self.equivalent is None else f", and none of equality within {self.margin}"
        notes += self._list_reasons(
            f"No test against {self.baseline}{equality}",
            [(group, group.difference.why if group.difference else "") for group in others],
            len(differences),
        )
        return [*notes, *self._notes_on_no_difference(others), *self._notes_on_values_set_by_hand(others)]

    def _notes_on_no_difference(self, others: Sequence[Group]) -> list[str]:
        """Says which rows are not compared with the baseline, why, and what to type to compare them."""
        notes = []
        for why, groups in _rows_by(others, lambda group: group.why_no_difference).items():
            note = f"{_are(groups, others)} not compared with {self.baseline}, because {why}."
            if groups[0].remedy:
                them = "it" if len(groups) == 1 else "them"
                note += f' To compare {them} all the same, type --baseline "{groups[0].remedy}".'
            notes.append(note)
        if len(notes) > MOST_REASONS:
            more = plural(len(notes) - MOST_REASONS + 1, "more reason")
            notes[MOST_REASONS - 1 :] = [f"Other rows are not compared with {self.baseline} for {more}."]
        return notes

    def _notes_on_values_set_by_hand(self, others: Sequence[Group]) -> list[str]:
        """Says in which values that a user set rows differ from their baseline, though they are compared with it."""
        whom = by_whom(run for group in self.groups for run in group.shown)
        notes = [
            f"{_are(groups, others)} compared with {self.baseline} although a value was set {whom}: {words}."
            for words, groups in _rows_by(others, lambda group: group.set_by_hand).items()
        ]
        if len(notes) > MOST_REASONS:
            more = f"So are other rows, with {len(notes) - MOST_REASONS + 1} more sets of such values."
            notes[MOST_REASONS - 1 :] = [more]
        return notes

    def _list_reasons(self, what: str, reasons: Sequence[tuple[Group, str]], rows: int) -> list[str]:
        """Writes which rows have a reason, each reason once: `No test against rule=bp for dfa, cpu: ...`."""
        labels: dict[str, list[str]] = {}
        for group, why in reasons:
            if why:
                labels.setdefault(why, []).append(group.label())
        if len(labels) == 1 and len(next(iter(labels.values()))) == rows:
            return [f"{what}: {next(iter(labels))}."]
        listed = []
        for why, names in labels.items():
            others = f" and {plural(len(names) - 1, 'more row')}" if len(names) > 1 else ""
            listed.append(f"{what} for {names[0]}{others}: {why}.")
        more = (
            [f"{what} for other rows for {plural(len(labels) - MOST_REASONS + 1, 'more reason')}."]
            if len(labels) > MOST_REASONS
            else []
        )
        return listed if len(labels) <= MOST_REASONS else [*listed[: MOST_REASONS - 1], *more]


def _follows_from_tuned(runs: Sequence[Run], key: str) -> bool:
    """Tells whether the file of conf/tuned that each run has may be what decides `key`.

    It is not where runs with the same file differ, as those of an experiment differ from others.
    """
    if all(run.choices.get("tuned") in (None, "none") for run in runs):
        return False
    values: dict[str, str] = {}
    return all(
        values.setdefault(str(run.choices.get("tuned")), value) == value
        for run in runs
        if (value := format_value(key_value(run, key)))
    )


def _untuned(runs: Sequence[Run]) -> list[str]:
    """Names the runs for which conf/tuned has no file, or which asked for none: `fa`, `fc digits usf`."""
    named = [name for name in ("model", "data", "rule") if len({run.choices.get(name) for run in runs}) > 1]
    words = (
        [format_value(run.choices.get(name)) for name in named]
        + (["tuned=none"] if "tuned" in overridden([run]) else [])
        for run in runs
        if run.choices.get("tuned") in (None, "none")
    )
    found = list(dict.fromkeys(" ".join(word) for word in words))
    return [*found[:3], plural(len(found) - 3, "more combination")] if len(found) > 3 else found


def _values(runs: Sequence[Run], key: str) -> str:
    """Lists the values that a key was set to, and then those that follow from other choices: `0.1; elsewhere 0.01`.

    A dash stands for runs without the key.
    """
    set_, followed = (
        list(
            dict.fromkeys(
                format_value(key_value(run, key)) for run in runs if (key in overridden([run])) == was_set
            )
        )
        for was_set in (True, False)
    )
    words = [", ".join([*values[:4], *(["..."] if len(values) > 4 else [])]) for values in (set_, followed)]
    return "; elsewhere ".join(word for word in words if word)


def _rows_by(groups: Sequence[Group], words: Callable[[Group], str]) -> dict[str, list[Group]]:
    """Returns the rows for each text that `words` gives for some of them. Rows with an empty text are left out."""
    rows: dict[str, list[Group]] = {}
    for group in groups:
        if said := words(group):
            rows.setdefault(said, []).append(group)
    return rows


def _are(groups: Sequence[Group], all_groups: Sequence[Group]) -> str:
    """Begins a sentence about some of all rows: `The row dfa is`, `The rows dfa and 2 others are`."""
    alone = len(groups) == 1
    if len(groups) == len(all_groups):
        return "The other row is" if alone else "The other rows are"
    if alone:
        return f"The row {groups[0].label()} is"
    return f"The rows {groups[0].label()} and {plural(len(groups) - 1, 'other')} are"


def summarise(folders: Paths = ("outputs",), where: str | None = None, **options: Any) -> Comparison:
    """Compares all runs below `folders`; `options` are the fields of `Question`.

    `where` selects among the runs. Raises `DfaError` when no run is left, and when an option names something unknown.
    """
    found = find_some(folders)
    runs = found.runs
    if where:
        query = Query(where, Keys(runs))
        runs = [run for run in runs if query(run)]
        if not runs:
            raise DfaError(
                f'no run fulfils --where "{where}" (of {len(found.runs)} in {", ".join(found.places)})'
            )
    comparison = compare(runs, Question(**options))
    comparison.skipped = found.skipped
    return comparison


MOST_APART = 100.0  # a margin of 100 points would call any two accuracies equal


def compare(runs: Sequence[Run], question: Question = Question()) -> Comparison:
    """Groups `runs` into rows, and computes the statistics of each row.

    The rows are made by the keys of `question.by`, or by every key in which the runs differ, except those averaged
    over. Only completed runs count, and only one run of each configuration and seed. Raises `DfaError` when the
    question names something unknown.
    """
    if question.test not in TEST_NAMES:
        raise DfaError(f"--test: {one_of(question.test, TEST_NAMES)}")
    runs, duplicates = newest_per_identity(runs)
    keys = Keys(runs)
    metric = question.metric if isinstance(question.metric, Metric) else keys.metric(question.metric)
    over = [keys.resolve(word) for word in question.over]
    roles = classify_keys(runs, over, keys)
    columns = [keys.resolve(word) for word in question.by] or list(roles.columns)
    axis = keys.resolve(question.along) if question.along else None
    if axis and axis not in columns:
        columns.append(axis)
    unnamed = [key for key in roles.columns if key not in columns]
    # Each value of the metric belongs to a seed, and to the other keys that a row averages over.
    units = over + [key for key in unnamed if all(key_value(run, key) is not MISSING for run in runs)]
    groups = []
    for key, members in group_runs(runs, columns):
        group, repeated = make_group(key, members, metric, units, once=not question.by)
        groups.append(group)
        duplicates += repeated
    # A sweep over rules and seeds trains each rule with each seed, but not each row with each rule.
    if not question.by and not set(over) & set(keys.choices):
        mark_missing(groups, units)
    tests, named = 0, []
    if question.equivalent is not None and not question.baseline:
        raise DfaError("--equivalent needs --baseline, the rows that the others are compared with")
    if question.equivalent is not None and not 0 < question.equivalent < MOST_APART:
        raise DfaError(
            f"--equivalent is {question.equivalent:g}; it must be a positive number below {MOST_APART:g}, such as 0.5"
        )
    if question.baseline:
        margin = None if question.equivalent is None else question.equivalent / metric.scale
        query = Query(question.baseline, keys, "--baseline")
        named = query.keys
        differing = [*dict.fromkeys((*columns, *roles.columns, *roles.dependent_keys))]
        tests = compare_with_baseline(groups, Baseline(query, differing, units, question.test, margin))
    shown = filter_rows(groups, question.only, keys) if question.only else groups
    averaged = [key for key in unnamed if any(differs(group.counted, key) for group in shown)]
    result = Comparison(
        metric=metric,
        over=over,
        units=units,
        columns=columns,
        constant=roles.constant,
        dependent_keys=[*(key for key in unnamed if key not in averaged), *roles.dependent_keys],
        groups=shown,
        keys=keys,
        splits=describe_splits(shown),
        averaged=averaged,
        baseline=question.baseline,
        test=question.test,
        equivalent=question.equivalent,
        named=named,
        tests=tests,
        duplicates=duplicates,
        along=axis,
    )
    _move_constant_columns(result, keys_were_asked=bool(question.by))
    if question.sort:
        _sort(result, question.sort)
    return result


def _move_constant_columns(result: Comparison, keys_were_asked: bool) -> None:
    """Moves columns with the same value in every shown row from the table to the line above it.

    A single row keeps its columns if the user has asked for these keys.
    """
    if len(result.groups) == 1 and keys_were_asked:
        return
    for key in list(result.columns):
        values = {format_value(group.key[key]) for group in result.groups}
        if len(values) == 1:
            result.columns.remove(key)
            result.constant = {key: result.groups[0].key[key], **result.constant}


def describe_splits(groups: Sequence[Group]) -> list[str]:
    """Describes each data split: `cora: public Planetoid split (140 train, 500 validation, 1000 test)`."""
    known: dict[str, None] = {}
    for group in groups:
        for run in group.counted:
            sizes = run.result.get("sizes") or {}
            listed = ", ".join(f"{format_value(size)} {name}" for name, size in sizes.items())
            words = format_value(run.result.get("split") or "split not recorded") + (
                f" ({listed})" if listed else ""
            )
            known[f"{format_value(run.choices.get('data') or 'data')}: {words}"] = None
    return list(known)


STATISTICS = ("mean", "std", "n", "ci", "best", "difference", "p")


def sort_value(result: Comparison, group: Group, name: str) -> Any:
    """Returns the value by which `--sort name` sorts: a statistic, the mean of a metric, or the value of a key."""
    if name == "ci":
        return group.ci[0] if group.ci else MISSING
    if name in ("difference", "p"):
        difference = group.difference
        value = None if difference is None else difference.mean if name == "difference" else difference.p
        return MISSING if value is None else value
    if name in STATISTICS:
        value = getattr(group, name)
        return MISSING if value is None else value
    if name in group.key:
        return group.key[name]
    metric = next((candidate for candidate in METRICS if candidate.name == name), None)
    value = group.average(metric) if metric else key_value(group.runs[0], name)
    return MISSING if value is None else value


def _sort(result: Comparison, sort: str) -> None:
    """Sorts the rows by what `--sort` names, in reverse with a leading `-`. Rows without a value come last."""
    word = sort.removeprefix("-").removeprefix("+")
    name = "mean" if word in ("metric", result.metric.name) else ALIASES.get(word, word)
    name = "mean" if name == result.metric.name else name
    if name not in STATISTICS and name not in result.groups[0].key:
        try:
            name = result.keys.resolve(name)
        except DfaError as error:
            raise DfaError(
                f"--sort {word}: {error}; columns are {', '.join((*result.columns, *STATISTICS))}"
            ) from None
    # The best rows and the rows with the most runs come first.
    descending = name == "n" or (name in ("mean", "best", "difference") and result.metric.up)
    if sort.startswith("-"):
        descending = not descending
    known = [group for group in result.groups if sort_value(result, group, name) is not MISSING]
    unknown = [group for group in result.groups if sort_value(result, group, name) is MISSING]
    known.sort(key=lambda group: sort_key(sort_value(result, group, name)), reverse=descending)
    result.groups = known + unknown
