"""Messages to the user, and the form of paths and percentages in them."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

log = logging.getLogger("dfa")


def notify(sentence: str) -> None:
    """Writes a note for the user to standard error, and to the log if there is one."""
    if log.hasHandlers():
        log.warning(sentence)
    print(f"note: {sentence}", file=sys.stderr, flush=True)


def entry(name: str, text: str) -> list[str]:
    """Formats a name and a text beside it, in lines of at most 80 characters."""
    import textwrap

    lines = textwrap.wrap(text, 65, drop_whitespace=False) or [""]
    first, *more = lines
    return [f"{name:15}{first}".rstrip(), *(f"{'':15}{line.strip()}" for line in more)]


def percent(fraction: float) -> str:
    return f"{100 * fraction:5.1f} %"


def shortest(path: Path) -> str:
    """Returns the path relative to the current folder if it lies below that folder, and otherwise unchanged."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
