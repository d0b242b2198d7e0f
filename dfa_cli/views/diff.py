"""`dfa diff`: what differs between two runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dfa_cli.console.table import lay_out, wrap
from dfa_cli.console.values import MISSING, format_value
from dfa_cli.records.keys import DERIVED_CHOICES, IRRELEVANT
from dfa_cli.records.measures import METRICS
from dfa_cli.records.run import Run, flatten


@dataclass(frozen=True)
class Diff:
    """Lines `(key, value here, value there)` by part: what decides the result, what does not, code and
    machine, and what came out."""

    configuration: list[tuple[str, Any, Any]]
    irrelevant: list[tuple[str, Any, Any]]
    provenance: list[tuple[str, Any, Any]]
    result: list[tuple[str, Any, Any]]


def diff(one: Run, other: Run) -> Diff:
    """Choices and configuration keys, versions and commits, and results in which two runs differ."""
    choices = [
        (name, here, there)
        for name, here, there in _differing(one.choices, other.choices)
        if name not in DERIVED_CHOICES
    ]
    keys = _differing(one.flat, other.flat)
    outside = [line for line in keys if line[0].partition(".")[0] in IRRELEVANT]
    results = []
    for metric in METRICS:
        here, there = metric.of(one), metric.of(other)
        if here != there:
            results.append((metric.title, metric.show(here), metric.show(there)))
    return Diff(
        configuration=choices + [line for line in keys if line not in outside],
        irrelevant=outside,
        provenance=[
            line
            for line in _differing(_made_by(one), _made_by(other))
            if line[0] not in ("pid", "pid_started")
        ],
        result=results,
    )


def _made_by(run: Run) -> dict[str, Any]:
    return flatten({name: held for name, held in run.provenance.items() if name not in ("command", "seeds")})


def _differing(here: dict[str, Any], there: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    names = dict.fromkeys([*here, *there])
    pairs = [(name, here.get(name, MISSING), there.get(name, MISSING)) for name in names]
    return [line for line in pairs if format_value(line[1]) != format_value(line[2])]


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
    rows = [[f"  {key}", format_value(here), format_value(there)] for key, here, there in part]
    names = [one.id, other.id] if one.id != other.id else [f"{one.id} (1)", f"{other.id} (2)"]
    if width:  # long values are folded, so that both stay side by side
        key = min(max(len(row[0]) for row in rows), width // 3)
        room = (width - key - 4) // 2
        rows = [line for row in rows for line in _folded(row, key, room)]
    return lay_out(["", *names], rows, [True] * 3)


def _folded(row: Sequence[str], key: int, room: int) -> list[list[str]]:
    parts = [wrap(row[0].strip(), key - 2), wrap(row[1], room), wrap(row[2], room)]
    parts[0] = [f"  {line}" for line in parts[0]]
    return [
        [part[i] if i < len(part) else "" for part in parts] for i in range(max(len(part) for part in parts))
    ]
