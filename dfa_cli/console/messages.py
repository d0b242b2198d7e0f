"""Messages to the user, and how paths and percentages are written in them."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

log = logging.getLogger("dfa")


def notify(sentence: str) -> None:
    """Tells the user something, in the log and on standard error."""
    log.warning(sentence)
    print(f"note: {sentence}", file=sys.stderr, flush=True)


def entry(name: str, text: str) -> list[str]:
    """A name and what is to be said of it, in lines of 80 characters."""
    import textwrap

    lines = textwrap.wrap(text, 65, drop_whitespace=False) or [""]
    return [f"{name if number == 0 else '':15}{line}".rstrip() for number, line in enumerate(lines)]


def percent(fraction: float) -> str:
    return f"{100 * fraction:5.1f} %"


def shortest(path: Path) -> str:
    """Relative to the current folder where that is inside it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
