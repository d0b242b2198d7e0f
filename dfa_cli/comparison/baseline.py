"""Rows against a baseline row, and the choice among rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dfa_cli.comparison.group import Group
from dfa_cli.comparison.statistics import holm, paired
from dfa_cli.console.values import MISSING, format_value
from dfa_cli.errors import DfaError
from dfa_cli.records.keys import Keys
from dfa_cli.records.query import Query


def _same_in_all(query: Query, group: Group, option: str) -> bool:
    answers = {query(run) for run in group.runs}
    if len(answers) > 1:
        raise DfaError(
            f"{option} \"{query.source}\" is true for some runs of the row '{group.label()}' and false "
            f"for others; use keys that tell rows apart ({', '.join(group.key) or 'none here'}), "
            f"or --where to choose runs"
        )
    return answers.pop()


def only_rows(groups: list[Group], only: str, keys: Keys) -> list[Group]:
    query = Query(only, keys, "--only")
    shown = [group for group in groups if _same_in_all(query, group, "--only")]
    if not shown:
        raise DfaError(f'no row fulfils --only "{only}"; rows are {_rows(groups)}')
    return shown


def _rows(groups: Sequence[Group]) -> str:
    names = "; ".join(
        ", ".join(f"{key}={format_value(held)}" for key, held in group.key.items()) for group in groups[:6]
    )
    return f"{names or 'one row of all runs'}{'; ...' if len(groups) > 6 else ''}"


def against(groups: list[Group], query: Query, test: str) -> int:
    """Gives each group its difference to the baseline group that agrees with it on most other columns; returns how
    many tests were made, which is what Holm's correction is for.

    Data sets are never compared with each other unless the baseline names one.
    """
    bases = [group for group in groups if _same_in_all(query, group, "--baseline")]
    if not bases:
        raise DfaError(f'--baseline "{query.source}" matches no row; rows are {_rows(groups)}')
    for group in bases:
        group.is_baseline = True
    for group in groups:
        if group.is_baseline:
            continue
        asked = set(query.keys)
        fitting = [base for base in bases if "data" in asked or _agree(base, group, "data")]
        scores = [sum(_agree(base, group, key) for key in group.key if key not in asked) for base in fitting]
        if not fitting or scores.count(max(scores)) > 1:
            continue
        base = fitting[scores.index(max(scores))]
        if base.by_unit and group.by_unit:
            group.difference = paired(group.by_unit, base.by_unit, test)
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
