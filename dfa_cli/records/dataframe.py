"""All runs as a pandas DataFrame, for notebooks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from dfa_cli.errors import DfaError
from dfa_cli.records.find import find_some
from dfa_cli.records.keys import Keys
from dfa_cli.records.measures import METRICS
from dfa_cli.records.query import Query
from dfa_cli.records.run import Run

if TYPE_CHECKING:
    from pandas import DataFrame


def load(*folders: str | os.PathLike[str], where: str | None = None, curves: bool = False) -> DataFrame:
    """One row a run, newest first, indexed by id; `load("outputs")` and `load()` are the same.

    Columns: `status` (a dead process's run is `killed`), `created` (time, UTC), `folder`, `identity` (equal
    for equal configurations); the choices by their group (`model`, `data`, `rule`, `device`, ...); every
    configuration key by its dotted name (`seed`, `optimizer.lr`, ...; lists stay lists); every metric by its
    full name (`test_accuracy_at_best_validation`, ...: accuracies are fractions from 0 to 1; `_seconds`,
    `_joules`, `_mb` are units); `notes.*` of the projection; `split` and `sizes.*`; `error`, the reason of a
    failed run. What a run does not have is missing (NaN or None).

    With `curves`, one row an epoch instead: `id`, and the columns of metrics.csv. `where` is an expression
    as for `dfa runs --where`. Damaged folders are left out. Raises `DfaError` when there are no runs, or
    no pandas.
    """
    try:
        import pandas
    except ImportError:
        raise DfaError(
            "load() gives a pandas DataFrame and pandas is not installed: pip install pandas"
        ) from None
    runs = find_some(folders or ("outputs",)).runs
    if where:
        query = Query(where, Keys(runs), "where")
        runs = [run for run in runs if query(run)]
    if curves:
        parts = [pandas.DataFrame({"id": run.id, **run.curves}) for run in runs if run.curves]
        return pandas.concat(parts, ignore_index=True) if parts else pandas.DataFrame({"id": []})
    table = pandas.DataFrame([row(run) for run in runs], columns=None if runs else ["id"])
    if "created" in table:
        table["created"] = pandas.to_datetime(table["created"], utc=True, errors="coerce", format="ISO8601")
    return table.set_index("id")


def row(run: Run) -> dict[str, Any]:
    """One run, flat: the columns that `load` documents."""
    projection = run.record.get("projection") or {}
    flat: dict[str, Any] = {
        "id": run.id,
        "status": run.status,
        "created": run.created,
        "folder": run.folder,
        "identity": run.identity,
        **run.choices,
        **run.flat,
        **{metric.name: metric.of(run) for metric in METRICS},
        **{f"notes.{name}": note for name, note in (projection.get("notes") or {}).items()},
        "split": run.result.get("split"),
        **{f"sizes.{name}": size for name, size in (run.result.get("sizes") or {}).items()},
        "error": (run.record.get("error") or {}).get("message"),
    }
    return flat
