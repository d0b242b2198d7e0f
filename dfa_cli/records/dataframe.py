"""Loads runs into a pandas DataFrame, for notebooks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from dfa_cli.console.values import number
from dfa_cli.errors import DfaError
from dfa_cli.records.find import find_some
from dfa_cli.records.keys import Keys
from dfa_cli.records.measures import METRICS
from dfa_cli.records.query import Query
from dfa_cli.records.run import Run

if TYPE_CHECKING:
    from pandas import DataFrame


def load(*folders: str | os.PathLike[str], where: str | None = None, curves: bool = False) -> DataFrame:
    """Loads all runs below `folders` into a pandas DataFrame: one row per run, newest first, indexed by id.

    `load()` is the same as `load("outputs")`. The columns are:

    - `status` (`killed` for a run whose process is gone), `created` (time in UTC), `folder`, and `identity` (equal
      for equal configurations).
    - The option that was chosen in each configuration group: `model`, `data`, `rule`, `device`, and so on.
    - Every configuration key by its dotted name: `seed`, `optimizer.lr`, and so on. Lists stay lists.
    - Every metric by its full name, such as `test_accuracy_at_best_validation`. Accuracies are fractions from 0 to
      1. The endings `_seconds`, `_joules` and `_mb` are units.
    - `notes.*`: what the projection device noted, such as `notes.saturated_fraction`.
    - `split`, the name of the data split, and `sizes.*`, the number of rows in each of its parts.
    - `stages.*`: what each stage or replica of a parallel run sent in all, by the names of the record, and its seconds.
      `stages.1.sent.forward.bytes` and `stages.1.sent.forward.messages` are of the first one's activations, `backward`
      of gradients or errors, `projection` of feedback. `stages.1.seconds.waiting` and the like count training steps
      only, of which there are `stages.1.steps`.
    - `data_fallback`: the sentence about a stand-in. Where it is missing, the run was trained on the data set that was
      asked for, or on the default one.
    - `warnings`: what the projection device has warned of.
    - `error`: the reason why a run failed.

    A value that a run does not have is missing (NaN or None).

    With `curves=True` each row is one epoch of one run. Its columns are `id` and the columns of `metrics.csv`.

    `where` selects runs by an expression, as `dfa runs --where` does. Damaged folders are left out. Raises `DfaError`
    when there are no runs, or when pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise DfaError(
            "load() returns a pandas DataFrame, and pandas is not installed: pip install pandas"
        ) from None
    runs = find_some(folders or ("outputs",)).runs
    if where:
        query = Query(where, Keys(runs), "where")
        runs = [run for run in runs if query(run)]
    if curves:
        parts = [pandas.DataFrame({"id": run.id, **run.curves}) for run in runs if run.curves]
        return pandas.concat(parts, ignore_index=True) if parts else pandas.DataFrame({"id": []})
    table = pandas.DataFrame([flat_columns(run) for run in runs], columns=None if runs else ["id"])
    if "created" in table:
        table["created"] = pandas.to_datetime(table["created"], utc=True, errors="coerce", format="ISO8601")
    return table.set_index("id")


def _stages(run: Run) -> dict[str, float]:
    """Returns the numbers of each process of a parallel run. Its timeline is left out."""
    listed = (run.record.get("parallel") or {}).get("stages")
    columns: dict[str, float] = {}

    def add(place: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, below in value.items():
                add(f"{place}.{name}", below)
        elif (size := number(value)) is not None:
            columns[place] = size

    for place, stage in enumerate(listed if isinstance(listed, list) else (), start=1):
        add(f"stages.{place}", stage)
    return columns


def flat_columns(run: Run) -> dict[str, Any]:
    """Puts one run into a flat dictionary, with the columns that `load` documents."""
    projection = run.record.get("projection") or {}
    return {
        "id": run.id,
        "status": run.status,
        "created": run.created,
        "folder": run.folder,
        "identity": run.identity,
        **run.choices,
        **run.flat,
        **{metric.name: metric.value_of(run) for metric in METRICS},
        **{f"notes.{name}": note for name, note in (projection.get("notes") or {}).items()},
        **_stages(run),
        "data_fallback": run.record.get("data_fallback"),
        "split": run.result.get("split"),
        **{f"sizes.{name}": size for name, size in (run.result.get("sizes") or {}).items()},
        "warnings": "; ".join(run.warnings) or None,
        "error": (run.record.get("error") or {}).get("message"),
    }
