"""Selects runs by status, by condition and by time."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone

from dfa_cli.errors import DfaError, one_of
from dfa_cli.records.run import STATUSES, Run


def select(
    runs: Sequence[Run],
    status: str | None = None,
    test: Callable[[Run], bool] | None = None,
    since: str | None = None,
) -> list[Run]:
    """Returns the runs that fulfil all the conditions given.

    `status`: one or several, such as `failed` or `failed,killed`. `test`: a condition, such as a `Query`. `since`:
    the earliest time at which a run began, as ISO 8601 in UTC. Raises `DfaError` for a status that does not exist.
    """
    wanted = [word.strip() for word in status.split(",")] if status else []
    for word in wanted:
        if word not in STATUSES:
            raise DfaError(f"--status: {one_of(word, STATUSES)}")
    return [
        run
        for run in runs
        if (not wanted or run.status in wanted)
        and (not since or run.created >= since)
        and (not test or test(run))
    ]


_UNITS = {"m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_moment(word: str, now: datetime | None = None) -> datetime:
    """Reads a point in time as a user types it.

    It is a date (`2026-11-22`, `2026-11-22T08:30`), `today`, `yesterday`, or an age (`90m`, `2h`, `3d`, `1w`). A date
    without a time zone is in local time. Raises `DfaError` for anything else.
    """
    now = now or datetime.now().astimezone()
    plain = word.strip().lower()
    if plain in ("today", "yesterday"):
        # The comparison counts as one day for "yesterday", and as none for "today".
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
    """Reads a point in time, and writes it as records do, so that sorting the text sorts by time."""
    return parse_moment(word).astimezone(timezone.utc).isoformat()
