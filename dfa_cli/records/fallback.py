"""Says in words that a run was trained on a stand-in: on another data set than the default one, which was missing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from dfa_cli.console.values import NOTHING, format_value
from dfa_cli.records.run import Run

# The sentence of today, and the one that records of version 0.1.0 hold.
_MISSING = re.compile(
    r".+, in place of (?P<today>\S+), which could not be had|(?P<earlier>\S+) could not be had"
)


def fallback_sentence(stand_in: str, missing: str) -> str:
    """Say which data set took the place of which, and what to type to get the missing one."""
    return f"{stand_in}, in place of {missing}, which could not be had: dfa data fetch {missing}"


def data_in_words(choices: Mapping[str, Any], fallback: object) -> str:
    """Name the data set of a run: `cora`, or `digits_graph for cora` for a stand-in.

    `fallback`: the value of `data_fallback` in its record or its configuration.
    """
    name = format_value(choices.get("data") or NOTHING)
    return f"{name} for {_missing(fallback) or 'another'}" if fallback else name


def todays_sentence(choices: Mapping[str, Any], fallback: object) -> str:
    """Return the sentence about a stand-in as it is written today. A text that is no such sentence stays as it is."""
    missing = _missing(fallback)
    return (
        fallback_sentence(format_value(choices.get("data")), missing) if missing else format_value(fallback)
    )


def _missing(fallback: object) -> str | None:
    found = _MISSING.match(str(fallback))
    return format_value(found["today"] or found["earlier"]) if found else None


def data_of(run: Run) -> str:
    """Name the data set of a run as `data_in_words` does."""
    return data_in_words(run.choices, run.record.get("data_fallback"))


def data_of_row(runs: Sequence[Run]) -> str:
    """Name the data sets of several runs: `digits_graph for cora`.

    Where only some of them used a stand-in, their number is added: `digits_graph (2 of 5 for cora)`.
    """
    names: dict[str, list[Run]] = {}
    for run in runs:
        names.setdefault(format_value(run.choices.get("data") or NOTHING), []).append(run)
    words = []
    for name, same in names.items():
        counts: dict[str, int] = {}
        for run in same:
            counts[data_of(run)] = counts.get(data_of(run), 0) + 1
        if len(counts) == 1:
            words += counts
        else:
            parts = [
                f"{count} of {len(same)} {word.removeprefix(name).strip()}"
                for word, count in counts.items()
                if word != name
            ]
            words.append(f"{name} ({', '.join(parts)})")
    return ", ".join(words)


def fallback_of_row(runs: Sequence[Run]) -> str | None:
    """Join the sentences about stand-ins of several runs, or return `None` where there is none.

    Where a sentence does not hold for all runs, the number of its runs is added.
    """
    counts: dict[str, int] = {}
    for run in runs:
        if sentence := run.record.get("data_fallback"):
            counts[sentence] = counts.get(sentence, 0) + 1
    words = [
        sentence if count == len(runs) else f"{sentence} ({count} of {len(runs)} runs)"
        for sentence, count in counts.items()
    ]
    return "; ".join(words) or None


def fallback_notes(runs: Sequence[Run]) -> list[str]:
    """Return a sentence for each stand-in that a run of the list used."""
    sentences = sorted({run.record["data_fallback"] for run in runs if run.record.get("data_fallback")})
    return [
        # Today's sentence ends with a command that is copied, so no full stop follows.
        format_value(sentence)
        if ", in place of " in sentence
        else f"Another data set was used: {format_value(sentence)}."
        for sentence in sentences
    ]
