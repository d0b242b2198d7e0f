"""`dfa clean`: deletes the folders of runs that never completed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from dfa_cli.console.values import plural
from dfa_cli.errors import DfaError
from dfa_cli.machine.files import remove_folder
from dfa_cli.records.curves import METRICS
from dfa_cli.records.find import find
from dfa_cli.records.locks import owned
from dfa_cli.records.log import LOG
from dfa_cli.records.run import CHECKPOINT, LOCK, PACKAGES, RECORD, UNFINISHED, WEIGHTS, Run, read_run

# The names of the files that a run writes. A process that is killed while it writes one leaves a `.*.tmp`.
RUN_FILES = (
    RECORD,
    METRICS,
    LOG,
    WEIGHTS,
    CHECKPOINT,
    PACKAGES,
    LOCK,
    f"{LOCK}.takeover",
    ".hydra",
    ".*.tmp",
)


def removable(runs: Sequence[Run], force: bool = False) -> list[Run]:
    """Returns the failed, interrupted and killed runs, and never one that is running or completed.

    `force`: also those that count as running only because nobody can tell whether their process is alive.
    """
    return [run for run in runs if run.status in UNFINISHED or (force and is_uncertain(run))]


def is_uncertain(run: Run) -> bool:
    """Tells whether a run counts as running, and nobody can tell whether its process is alive."""
    return run.status == "running" and run.owner is not None and not run.owner.certain


def folder_bytes(run: Run) -> int:
    """Adds up the sizes of all files in the run's folder, in bytes."""
    total = 0
    for folder, _, files in os.walk(run.folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                continue
    return total


def remove(runs: Sequence[Run], force: bool = False) -> list[tuple[Run, str]]:
    """Deletes the folders of `runs`, and returns the runs whose folders stay, each with the reason.

    This process owns each folder while it deletes it, and reads the record again before, because the run may have been
    resumed. A folder stays also when it is a link, holds another run, or holds files that no run writes. A folder that
    is gone by now counts as deleted. `force`: as in `removable`.
    """
    kept = []
    for run in runs:
        try:
            latest = read_run(run.folder)
            if latest.id != run.id or not removable([latest], force):
                kept.append((run, f"it is {latest.status} now"))
                continue
            with owned(Path(run.folder), force):
                if reason := _why_kept(run):
                    kept.append((run, reason))
                else:
                    remove_folder(Path(run.folder))
        except (ValueError, DfaError, OSError) as error:
            if os.path.exists(run.folder):
                kept.append((run, getattr(error, "strerror", None) or str(error)))
    return kept


def _why_kept(run: Run) -> str | None:
    """Says why the folder of a run, which this process owns, must not be deleted. Returns `None` if it may."""
    status = read_run(run.folder).record["status"]
    if status != run.record["status"]:
        return f"it is {status} now"
    if os.path.islink(run.folder):
        return "its folder is a link"
    here = os.path.realpath(run.folder)
    others = [other for other in find([run.folder]).runs if os.path.realpath(other.folder) != here]
    if others:
        return f"its folder holds {plural(len(others), 'other run')}"
    if foreign := foreign_names(run.folder):
        return f"its folder holds files that no run writes: {', '.join(foreign)}"
    return None


def remove_half_removed(folders: Sequence[str]) -> None:
    """Deletes what a killed `dfa clean` has left: `folders`, as `find` has found them."""
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def foreign_names(folder: str | os.PathLike[str]) -> list[str]:
    """Lists up to three files in a run's folder that no run writes."""
    names = sorted(os.listdir(folder))
    return [name for name in names if not any(fnmatch(name, pattern) for pattern in RUN_FILES)][:3]
