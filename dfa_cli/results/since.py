"""`--since`: a date, a date and a time, or an age."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from dfa_cli.errors import DfaError

_UNITS = {"m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(word: str, now: datetime | None = None) -> datetime:
    """`2026-11-22`, `2026-11-22T08:30`, `today`, `yesterday`, `90m`, `2h`, `3d`, `1w`; local time where none
    is said.

    Raises `DfaError` for anything else.
    """
    now = now or datetime.now().astimezone()
    plain = word.strip().lower()
    if plain in ("today", "yesterday"):
        return now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=plain == "yesterday")
    try:
        if match := re.fullmatch(r"(\d+(?:\.\d+)?)\s*(min|[mhdw])", plain):
            return now - timedelta(**{_UNITS[match[2]]: float(match[1])})
        return datetime.fromisoformat(word.strip().replace("Z", "+00:00")).astimezone()
    except (ValueError, OverflowError):
        raise DfaError(
            f"--since {word}: expected a date (2026-11-22, 2026-11-22T08:30), today, yesterday, "
            f"or an age (90m, 2h, 3d, 1w)"
        ) from None


def in_utc(word: str) -> str:
    """The moment in the form records use, so that text order is the order of time."""
    return moment(word).astimezone(timezone.utc).isoformat()
