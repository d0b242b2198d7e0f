"""The keys in which the rows of a comparison differ, so that a value tuned for one of them cannot stay hidden."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from dfa_cli.comparison.comparison import Comparison
from dfa_cli.comparison.group import Group
from dfa_cli.comparison.grouping import key_value, overridden
from dfa_cli.console.values import MISSING, format_value
from dfa_cli.records.keys import affects_result
from dfa_cli.views.html_table import Cell, Row, Table

MOST_SIDE_BY_SIDE = 12  # rows of the comparison; more are not columns, but are counted
MOST_VALUES = 12  # of a key that are listed


@dataclass(frozen=True)
class Differences:
    """The differences between the rows of a comparison.

    `table`: the keys that tell the rows apart first, then those that were set, then the others. `folded`: the keys that
    only some rows have, with one value in all of these. `options`: the options that have the folded keys.
    `side_by_side`: whether each row of the comparison has a column. If not, the rows with each value are counted.
    """

    table: Table | None
    folded: Table | None
    options: list[str]
    side_by_side: bool


def differences(result: Comparison) -> Differences | None:
    """Finds the keys in which the rows differ, or returns `None` if there is none."""
    typed = overridden(run for group in result.groups for run in group.shown)
    dependent = sorted(result.dependent_keys, key=lambda key: key not in typed)  # The sort is stable.
    keys = [
        key for key in [*result.columns, *dependent] if affects_result(key) and not key.endswith("_target_")
    ]
    if not keys or len(result.groups) < 2:
        return None
    # Keys that only come with an option, such as those of `device=opu_sim`, are folded away on the page.
    folded = [
        key for key in keys if key not in result.columns and key not in typed and _only_some_have(result, key)
    ]
    first = [key for key in keys if key not in folded]
    side_by_side = len(result.groups) <= MOST_SIDE_BY_SIDE
    make = _side_by_side if side_by_side else _counted
    return Differences(
        make(result, first, "differences") if first else None,
        make(result, folded, "folded") if folded else None,
        _options(result, folded),
        side_by_side,
    )


def _values(group: Group, key: str) -> str:
    return ", ".join(dict.fromkeys(format_value(key_value(run, key)) for run in group.shown))


def _only_some_have(result: Comparison, key: str) -> bool:
    """Tells whether some rows lack `key`, and all others have the same value."""
    values = [key_value(run, key) for group in result.groups for run in group.shown]
    known = {format_value(value) for value in values if value is not MISSING}
    return len(known) < 2 and any(value is MISSING for value in values)


def _options(result: Comparison, keys: Sequence[str]) -> list[str]:
    """Lists the options of the runs that have these keys: `device=opu_sim`."""
    found: dict[str, None] = {}
    for key in keys:
        group_name = key.replace("/", ".").partition(".")[0]
        for group in result.groups:
            for run in group.shown:
                if key_value(run, key) is not MISSING and run.choices.get(group_name):
                    found[f"{group_name}={format_value(run.choices[group_name])}"] = None
    return list(found)


def _side_by_side(result: Comparison, keys: Sequence[str], name: str) -> Table:
    """Makes a column for each row of the comparison. A value that is not the most common one is coloured."""
    rows = []
    for key in keys:
        words = [_values(group, key) for group in result.groups]
        common = Counter(words).most_common(1)[0][0]
        rows.append(
            Row([Cell(key), *(Cell(word, look="" if word == common else "differs") for word in words)])
        )
    return Table(name, [("key", True), *((group.label(), True) for group in result.groups)], rows)


def _counted(result: Comparison, keys: Sequence[str], name: str) -> Table:
    """Lists the values of each key, with the number of rows that have them, and what they follow from."""
    rows = []
    for key in keys:
        counts = Counter(_values(group, key) for group in result.groups).most_common()
        listed = [f"{value} ({count})" for value, count in counts[:MOST_VALUES]]
        if len(counts) > MOST_VALUES:
            listed.append(f"and {len(counts) - MOST_VALUES} more")
        rows.append(
            Row(
                [
                    Cell(key),
                    Cell(str(len(counts)), len(counts)),
                    Cell(", ".join(listed), look="w"),
                    Cell("tells rows apart" if key in result.columns else _follows(result, key), look="w"),
                ]
            )
        )
    heads = [("key", True), ("values", False), ("value (rows that have it)", True), ("why", True)]
    return Table(name, heads, rows, search=len(rows) > 10)


def _follows(result: Comparison, key: str) -> str:
    """Says from which column the value of `key` follows: `follows from rule: 0.01 for bp, 0.02 for dfa`."""
    for column in result.columns:
        found: dict[str, set[str]] = {}
        for group in result.groups:
            found.setdefault(format_value(group.key[column]), set()).add(_values(group, key))
        if all(len(values) == 1 for values in found.values()):
            by_value: dict[str, list[str]] = {}
            for option, (value,) in found.items():
                by_value.setdefault(value, []).append(option)
            if len(found) > MOST_VALUES:
                return f"follows from {column}"
            words = (f"{value} for {', '.join(options)}" for value, options in by_value.items())
            return f"follows from {column}: {'; '.join(words)}"
    return "follows from several keys"
