"""Tells whether a whole run is still what dfa has written: its record, and the files whose checksums it holds."""

from __future__ import annotations

import os
from dataclasses import dataclass

from dfa_cli.config.identity import identity
from dfa_cli.console.values import format_value
from dfa_cli.errors import DfaError
from dfa_cli.records.checksums import FILES, SUM, change_of_checkpoint, change_of_file
from dfa_cli.records.curves import METRICS
from dfa_cli.records.find import Paths, find, no_runs_message
from dfa_cli.records.run import CHECKPOINT, PACKAGES, RECORD, WEIGHTS, Run


def change_of_identity(run: Run) -> str | None:
    """Says that the identity of a run does not follow from its configuration; `None` if it does.

    Records of versions that wrote no checksums are taken as they are.
    """
    if SUM not in run.record:
        return None
    try:
        follows = identity(run.record["config"], (run.record.get("code") or {}).get("files"))
    except (AttributeError, KeyError, TypeError, ValueError):
        follows = None
    if follows == run.identity:
        return None
    return f"the identity {format_value(run.identity)} in run.json does not follow from the configuration"


def changes(run: Run) -> list[str]:
    """Lists how a run differs from what dfa has written. Its record was checked when it was read.

    Only the small files are read: the identity is computed anew, and the checksum of `metrics.csv`.
    """
    return [change for change in (change_of_identity(run), run.change_of_metrics) if change]


def changes_of_files(run: Run) -> list[str]:
    """Lists how the weights, the checkpoint and `packages.txt` of a run differ from what dfa has written.

    A running run still changes them. A killed one has only its checkpoint, and needs it.
    """
    if run.status == "running":
        return []
    checksums = run.record.get(FILES) or {}
    is_new = SUM in run.record and run.record["status"] == "completed"
    found = (
        change_of_file(os.path.join(run.folder, WEIGHTS), checksums.get(WEIGHTS)),
        change_of_file(
            os.path.join(run.folder, PACKAGES), run.provenance.get("packages") if is_new else None
        ),
        change_of_checkpoint(os.path.join(run.folder, CHECKPOINT)),
    )
    return [change for change in found if change]


def require_unchanged(run: Run, metrics: bool = True) -> None:
    """Raises `DfaError` for a run that cannot be repeated or continued, because it was changed after dfa wrote it.

    `metrics`: whether `metrics.csv` is needed too.
    """
    change = change_of_identity(run) or (run.change_of_metrics if metrics else None)
    if change:
        raise DfaError(f"run {run.id} is damaged: {change} ({run.folder}).")


@dataclass(frozen=True)
class Verification:
    """What `verify` has found.

    `damaged`: each damaged folder with its reasons. `checked`: how many folders were checked. `without_checksum`: how
    many runs have none. `running`: how many runs are running, so that their files still change.
    """

    damaged: list[tuple[str, list[str]]]
    checked: int
    without_checksum: int
    running: int


def verify(folders: Paths) -> Verification:
    """Checks all runs below `folders`, with all their files. Raises `DfaError` when there is none."""
    found = find(folders)
    if not found.runs and not found.skipped:
        raise DfaError(no_runs_message(found))
    # A folder without a record holds no run: it was never begun, or another program made it.
    without = [folder for folder, _ in found.skipped if _was_never_begun(folder)]
    damaged = [
        (folder, [reason if os.path.lexists(os.path.join(folder, RECORD)) else f"{RECORD} is gone"])
        for folder, reason in found.skipped
        if folder not in without
    ]
    for run in found.runs:
        if reasons := [*changes(run), *changes_of_files(run)]:
            damaged.append((run.folder, reasons))
    return Verification(
        damaged,
        checked=len(found.runs) + len(found.skipped) - len(without),
        without_checksum=sum(SUM not in run.record for run in found.runs),
        running=sum(run.status == "running" for run in found.runs),
    )


def _was_never_begun(folder: str) -> bool:
    """Tells whether a folder has no record, and nothing that a run leaves beside its record."""
    left = (RECORD, METRICS, WEIGHTS, CHECKPOINT)
    return os.access(folder, os.R_OK | os.X_OK) and not any(
        os.path.lexists(os.path.join(folder, name)) for name in left
    )
