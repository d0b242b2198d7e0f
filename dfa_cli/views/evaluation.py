"""Shows what the saved weights of a run give, beside what its record says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dfa_cli.console.messages import percent
from dfa_cli.console.table import lay_out, wrap
from dfa_cli.console.values import enumeration, plural

PARTS = ("validation", "test")


def evaluation_as_text(found: Mapping[str, Any], width: int | None) -> str:
    """Lays out the accuracies, and for each class of the test rows the class for which most others were taken."""
    parts = [
        [part, str(held["rows"]), percent(held["accuracy"]), percent(held["recorded"])]
        for part in PARTS
        if (held := found[part])
    ]
    classes = [
        [str(own), str(sum(row)), percent(row[own] / sum(row)) if any(row) else "", _taken_for(own, row)]
        for own, row in enumerate(found["test"]["confusion"])
    ]
    lines = [
        *wrap(f"run {found['id']}, with its weights of epoch {found['epoch']}", width or 80),
        "",
        *lay_out(["", "rows", "accuracy", "in the record"], parts, [True, *[False] * 3], keys=1, width=width),
        "",
        *lay_out(
            ["class", "test rows", "accuracy", "mostly taken for"], classes, [False] * 4, keys=1, width=width
        ),
        "",
        *wrap(_verdict(found), width or 80),
    ]
    return "\n".join(lines) + "\n"


def _taken_for(own: int, row: Sequence[int]) -> str:
    """Names the class for which most of the wrong rows of a class are taken, with their number."""
    wrong = [0 if other == own else count for other, count in enumerate(row)]
    return f"{wrong.index(max(wrong))} ({max(wrong)})" if any(wrong) else ""


def _verdict(found: Mapping[str, Any]) -> str:
    if found["matches"]:
        return "The weights give the accuracies of the record."
    fewer = {
        part: round(found[part]["recorded"] * found[part]["rows"]) - found[part]["correct"] for part in PARTS
    }
    differing = [
        f"{plural(abs(gone), f'{part} row')} {'fewer' if gone > 0 else 'more'}"
        for part, gone in fewer.items()
        if gone
    ]
    return (
        f"With these weights {enumeration(differing)} are correct than the record says. Another processor or another "
        "version of a library can do that to rows on the edge between two classes."
    )
