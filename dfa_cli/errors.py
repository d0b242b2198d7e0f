"""The one exception that is the user's to mend, and the words that help to mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DfaError(Exception):
    """A mistake in what the user asked for, or a limit of the machine it was asked of.

    The message is one sentence that says what came, what was expected and what to do. The command line prints
    it without a traceback and exits with 2; every other exception is a bug and keeps its traceback.
    """


def nearest(word: str, known: Iterable[str], most: int = 3) -> list[str]:
    """The known words that look most like `word`, best first; empty when none comes close."""
    return difflib.get_close_matches(word, list(known), n=most, cutoff=0.5)


def one_of(word: str, known: Iterable[str]) -> str:
    """`'gnc' is not one of cora, gcn (did you mean gcn?)`, for error messages about a choice."""
    known = sorted(known)
    guesses = nearest(word, known, most=1)
    hint = f" (did you mean {guesses[0]}?)" if guesses else ""
    return f"'{word}' is not one of {', '.join(known)}{hint}"
