"""Defines `DfaError`, the exception for a user's mistake, and finds the names that the user may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

NEAR = 0.6  # of two words, from 0 to 1: `compar` and `compare` have 0.92, `nope` and `compare` 0.55
MANY = 12  # names that a sentence lists at most, where another place lists them too


class DfaError(Exception):
    """A mistake in what the user asked for, or a limit of the user's machine.

    The message says on one line what was given, what is expected and what to type. The command line prints it without
    a traceback and exits with `exit_code`. Every other exception is a bug and keeps its traceback. `log`: the file that
    holds the traceback of the cause, where a user may want it. `refuses`: the run was refused, so that nothing of it is
    left unless an epoch was measured; otherwise it failed by itself, and its record says how.
    """

    exit_code = 2
    refuses = True
    log: Path | None = None


def nearest(word: str, known: Iterable[str], most: int = 3) -> list[str]:
    """Return up to `most` known words that look like `word`: first those that contain it, then the most similar.

    Capitals do not count, unless two words differ in nothing else.
    """
    spelt: dict[str, list[str]] = {}
    for name in known:
        spelt.setdefault(name.lower(), []).append(name)
    small = word.lower()
    similar = difflib.get_close_matches(small, spelt, n=max(1, len(spelt)), cutoff=NEAR)
    similar.sort(key=lambda name: small not in name)
    return [
        name
        for alike in similar
        for name in sorted(spelt[alike], key=lambda name: -difflib.SequenceMatcher(None, word, name).ratio())
    ][:most]


def one_of(word: str, known: Iterable[str], listed_by: str | None = None) -> str:
    """Say that a word is not among the known ones: `'gnc' is not one of cora, gcn (did you mean gcn?)`.

    `listed_by`: the command that lists them. Where they are many, it is named in place of the list.
    """
    known = sorted(known)
    many = listed_by is not None and len(known) > MANY
    guesses = nearest(word, known, most=3 if many else 1)
    hint = f" (did you mean {' or '.join(guesses)}?)" if guesses else ""
    if many:
        return f"'{word}' is not one of the {len(known)} options{hint}; {listed_by} lists them"
    return f"'{word}' is not one of {', '.join(known)}{hint}"
