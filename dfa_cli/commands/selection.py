"""The runs that a reading command is about, found and selected from its options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dfa_cli.errors import DfaError


def _places(folders: list[Path] | None) -> list[Path]:
    return folders or [Path("outputs")]


def _listed(words: str | None) -> list[str]:
    return [word.strip() for word in words.split(",") if word.strip()] if words else []


def _chosen(
    folders: list[Path] | None,
    where: str | None = None,
    since: str | None = None,
    status: str | None = None,
    most_skipped: int = 5,
    empty: str | None = None,
) -> tuple[Any, list[Any]]:
    """The search and the runs that pass; when none does, a `DfaError`, unless `empty` says that none is
    fine."""
    from dfa_cli.console import output
    from dfa_cli.records.find import find, find_some
    from dfa_cli.records.select import select

    found = find_some(_places(folders)) if empty is None else find(_places(folders))
    output.name_skipped(found.skipped, most_skipped)
    test = moment = None
    if where and found.runs:
        from dfa_cli.records.keys import Keys
        from dfa_cli.records.query import Query

        test = Query(where, Keys(found.runs))
    if since:
        from dfa_cli.records.select import in_utc

        moment = in_utc(since)
    chosen = select(found.runs, status, test, moment)
    if not chosen and empty is None:
        given = [
            f'--where "{where}"' if where else "",
            f"--since {since}" if since else "",
            f"--status {status}" if status else "",
        ]
        asked = " and ".join(word for word in given if word)
        raise DfaError(
            f"none of the {len(found.runs)} runs in {', '.join(found.places)} fulfils {asked}; ask for less"
        )
    return found, chosen


def _comparison(
    folders: list[Path] | None,
    where: str | None,
    since: str | None,
    by: str | None,
    metric: str | None,
    over: str,
    **options: Any,
) -> Any:
    found, chosen = _chosen(folders, where, since)
    result = _compare(chosen, by, metric, over, **options)
    result.skipped = found.skipped
    return result


def _compare(runs: list[Any], by: str | None, metric: str | None, over: str, **options: Any) -> Any:
    from dfa_cli.comparison.comparison import compare as put_side_by_side
    from dfa_cli.records.measures import DEFAULT

    return put_side_by_side(
        runs, by=_listed(by), metric=metric or DEFAULT, over=_listed(over) or ["seed"], **options
    )
