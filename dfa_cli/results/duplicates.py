"""The same configuration and seed run twice counts once."""

from __future__ import annotations

import json
from collections.abc import Sequence

from dfa_cli.results.store import Run


def newest_per_identity(runs: Sequence[Run]) -> tuple[list[Run], int]:
    """Of runs with one identity, the newest completed one is kept, else the newest.

    Returns the runs that are left, in their order, and how many completed ones were left out.
    """
    kept: dict[str, Run] = {}
    twice = 0
    for run in sorted(runs, key=lambda run: (run.created, run.id), reverse=True):
        mark = run.identity or json.dumps(run.config, sort_keys=True, default=str)
        other = kept.get(mark)
        if other is None:
            kept[mark] = run
        elif run.status == "completed":
            if other.status == "completed":
                twice += 1
            else:
                kept[mark] = run
    chosen = {id(run) for run in kept.values()}
    return [run for run in runs if id(run) in chosen], twice
