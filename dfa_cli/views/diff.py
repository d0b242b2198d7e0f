"""`dfa diff`: shows what differs between two runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dfa_cli.comparison.grouping import key_applies
from dfa_cli.config.schema import FACTS
from dfa_cli.console.table import GAP, display_width, lay_out, wrap
from dfa_cli.console.values import MISSING, format_value, printable
from dfa_cli.records.code import NO_FILE
from dfa_cli.records.keys import DERIVED_CHOICES, IRRELEVANT
from dfa_cli.records.measures import METRICS, Metric
from dfa_cli.records.run import Run, flatten

LEAST_ROOM = 16  # cells of a value; a key is broken only where less would be left


@dataclass(frozen=True)
class Diff:
    """What differs between two runs, as lines `(key, value in one run, value in the other)`.

    `configuration`: keys that affect the result. `irrelevant`: keys that do not. `provenance`: code and machine.
    `result`: the metrics, already formatted.
    """

    configuration: list[tuple[str, Any, Any]]
    irrelevant: list[tuple[str, Any, Any]]
    provenance: list[tuple[str, Any, Any]]
    result: list[tuple[str, Any, Any]]


def diff(one: Run, other: Run) -> Diff:
    """Finds the choices, configuration keys, versions, commits and results in which two runs differ."""
    choices = [
        line for line in _differing(one.choices, other.choices, one, other) if line[0] not in DERIVED_CHOICES
    ]
    chosen = [name.replace("/", ".") for name, *_ in choices]
    keys = [
        line
        for line in _differing(one.flat, other.flat, one, other)
        if line[0] not in ("code", "run_id") and not _is_class_of(line, chosen)
    ]
    keys += _differing(_code(one), _code(other))
    irrelevant = [
        line
        for line in [*choices, *keys]
        if line[0].partition(".")[0] in IRRELEVANT
        or not any(key_applies(run, line[0]) for run in (one, other))
    ]
    results = []
    for metric in METRICS:
        first, second = (_shown(metric, run, against) for run, against in ((one, other), (other, one)))
        if first != second:
            # Seconds and joules are written with their unit, and need none in the title.
            title = metric.words if metric.unit in ("s", "J") else metric.title
            results.append((title, first, second))
    return Diff(
        configuration=[line for line in [*choices, *keys] if line not in irrelevant],
        irrelevant=irrelevant,
        provenance=[
            (line[0], *map(_shortened, line[1:]))
            for line in _differing(_conditions(one), _conditions(other))
            if line[0] not in ("boot", "pid", "pid_started")
        ],
        result=results,
    )


def _is_class_of(line: tuple[str, Any, Any], chosen: Sequence[str]) -> bool:
    """Tells whether a line is about a class of this package that a `chosen` option names, or a fact about a class."""
    key, *values = line
    of_package = key.endswith("._target_") and all(
        name is MISSING or str(name).startswith("dfa_cli.") for name in values
    )
    return (of_package or key.rpartition(".")[2] in FACTS) and any(
        key.startswith(f"{name}.") for name in chosen
    )


def _shown(metric: Metric, run: Run, against: Run) -> str:
    """Formats the value of `run`: a number with enough digits to tell it from that of `against`.

    Times and energies have three digits, whether these tell them apart or not: no two runs take the same time.
    """
    value, other = metric.value_of(run), metric.value_of(against)
    if metric.unit not in ("s", "J") and None not in (value, other) and value != other:
        for precision in (None, *range(2, 16)):
            if metric.show(value, precision) != metric.show(other, precision):
                return metric.show(value, precision)
    return metric.show(value)


def _code(run: Run) -> dict[str, str]:
    """Returns the first digits of the checksum of each of the user's own files, as `dfa rerun` shows them."""
    return {f"code: {name}": (code or NO_FILE)[:8] for name, code in run.code.items()}


def _conditions(run: Run) -> dict[str, Any]:
    return flatten(
        {name: value for name, value in run.provenance.items() if name not in ("command", "seeds")}
    )


def _shortened(value: Any) -> Any:
    """Returns the first digits of a checksum or a commit, which tell two of them apart; any other value as it is."""
    is_sum = isinstance(value, str) and re.fullmatch("[0-9a-f]{40,}", value)
    return value[:8] if is_sum else value


def _differing(first: dict[str, Any], second: dict[str, Any], *runs: Run) -> list[tuple[str, Any, Any]]:
    """Returns the lines of what differs. With `runs`, a key that only one of the two uses is absent in the other."""
    lines = []
    for name in dict.fromkeys([*first, *second]):
        values = [node.get(name, MISSING) for node in (first, second)]
        used = [key_applies(run, name) for run in runs]
        if any(used):
            values = [value if is_used else MISSING for value, is_used in zip(values, used, strict=True)]
        if format_value(values[0]) != format_value(values[1]):
            lines.append((name, *values))
    return lines


def diff_as_text(one: Run, other: Run, width: int | None = None) -> str:
    found = diff(one, other)
    lines: list[str] = []
    for words, part in (
        ("Configuration", found.configuration),
        ("Changes nothing in the result", found.irrelevant),
        ("Code and machine", found.provenance),
        ("Result", found.result),
    ):
        if part:
            lines += [*([""] if lines else []), words, *_table(part, one, other, width)]
    if not found.configuration:
        same = "The two runs have the same configuration" + (
            " and identity." if one.identity == other.identity else "."
        )
        lines = [*wrap(same, width or 1000), *([""] if lines else []), *lines]
    return "\n".join(lines) + "\n"


def _table(part: Sequence[tuple[str, Any, Any]], one: Run, other: Run, width: int | None) -> list[str]:
    rows = [[f"  {key}", format_value(first), format_value(second)] for key, first, second in part]
    names = (
        [printable(one.id), printable(other.id)]
        if one.id != other.id
        else [f"{one.id} (1)", f"{other.id} (2)"]
    )
    if width:  # Long values are folded, so that the two runs stay side by side.
        gaps = 2 * len(GAP)
        longest, *sizes = (
            max(map(display_width, column)) for column in zip(["", *names], *rows, strict=True)
        )
        least = sum(min(size, LEAST_ROOM) for size in sizes)
        key = min(longest, max(width - gaps - least, width // 3))
        room = width - key - gaps
        # A run whose values are short leaves its room to the other.
        first = max(min(sizes[0], room // 2), room - sizes[1])
        rows = [line for row in rows for line in _fold(row, (key, first, room - first))]
    return lay_out(["", *names], rows, [True] * 3)


def _fold(row: Sequence[str], rooms: tuple[int, int, int]) -> list[list[str]]:
    key, *values = rooms
    parts = [
        wrap(row[0].strip(), key - 2),
        *(wrap(value, room) for value, room in zip(row[1:], values, strict=True)),
    ]
    parts[0] = [f"  {line}" for line in parts[0]]
    return [
        [part[i] if i < len(part) else "" for part in parts] for i in range(max(len(part) for part in parts))
    ]
