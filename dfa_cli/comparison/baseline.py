"""Tests the rows of a comparison against a baseline row, and chooses which rows are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dfa_cli.comparison.group import Group
from dfa_cli.comparison.statistics import holm, paired_difference
from dfa_cli.console.values import MISSING, format_value
from dfa_cli.errors import DfaError
from dfa_cli.records.keys import Keys
from dfa_cli.records.query import Query


def _answer_of_row(query: Query, group: Group, option: str) -> bool:
    """Evaluates `query` for a row. Raises `DfaError` when the answer is not the same for all its runs."""
    answers = {query(run) for run in group.runs}
    if len(answers) > 1:
        raise DfaError(
            f"{option} \"{query.source}\" is true for some runs of the row '{group.label()}' and false "
            f"for others; use keys in which the rows differ ({', '.join(group.key) or 'none here'}), "
            f"or --where to choose runs"
        )
    return answers.pop()


def filter_rows(groups: list[Group], only: str, keys: Keys) -> list[Group]:
    """Returns the rows for which the expression `only` holds. Raises `DfaError` when there is none."""
    query = Query(only, keys, "--only")
    shown = [group for group in groups if _answer_of_row(query, group, "--only")]
    if not shown:
        raise DfaError(f'no row fulfils --only "{only}"; rows are {_list_rows(groups)}')
    return shown


def _list_rows(groups: Sequence[Group]) -> str:
    names = "; ".join(
        ", ".join(f"{key}={format_value(value)}" for key, value in group.key.items()) for group in groups[:6]
    )
    return f"{names or 'one row of all runs'}{'; ...' if len(groups) > 6 else ''}"


def compare_with_baseline(groups: list[Group], query: Query, test: str) -> int:
    """Compares each group with its baseline, stores the `difference`, and returns how many tests were made.

    `query` selects the groups that are baselines. Any other group is compared with the baseline that agrees with it in
    the most columns. The columns that `query` names do not count. If two baselines agree equally well, the group is not
    compared. Groups on different data sets are not compared either, unless `query` names the data set. The significance
    is corrected for the number of tests by Holm's method.
    """
    baselines = [group for group in groups if _answer_of_row(query, group, "--baseline")]
    if not baselines:
        raise DfaError(f'--baseline "{query.source}" matches no row; rows are {_list_rows(groups)}')
    for group in baselines:
        group.is_baseline = True
    for group in groups:
        if group.is_baseline:
            continue
        named_keys = set(query.keys)
        candidates = [base for base in baselines if "data" in named_keys or _agree(base, group, "data")]
        scores = [
            sum(_agree(base, group, key) for key in group.key if key not in named_keys) for base in candidates
        ]
        if not candidates or scores.count(max(scores)) > 1:
            continue
        base = candidates[scores.index(max(scores))]
        if base.by_unit and group.by_unit:
            group.difference = paired_difference(group.by_unit, base.by_unit, test)
    tested = [group for group in groups if group.difference and group.difference.p is not None]
    verdicts = holm(
        [group.difference.p for group in tested if group.difference and group.difference.p is not None]
    )
    for group, verdict in zip(tested, verdicts, strict=True):
        if group.difference:
            group.difference = replace(group.difference, significant=verdict)
    return len(tested)


def _agree(one: Group, other: Group, key: str) -> bool:
    return format_value(one.key.get(key, MISSING)) == format_value(other.key.get(key, MISSING))
