"""`dfa clean`: deletes the folders of runs that never completed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from fnmatch import fnmatch

from dfa_cli.console.values import plural
from dfa_cli.errors import DfaError
from dfa_cli.records.curves import METRICS
from dfa_cli.records.find import find
from dfa_cli.records.log import LOG
from dfa_cli.records.run import CHECKPOINT, RECORD, UNFINISHED, WEIGHTS, Run, read_run

# The names of the files that a run writes. A process that is killed while it writes one leaves a `.*.tmp`.
RUN_FILES = (RECORD, METRICS, LOG, WEIGHTS, CHECKPOINT, ".hydra", ".*.tmp")


def removable(runs: Sequence[Run]) -> list[Run]:
    """Returns the failed, interrupted and killed runs, and never one that is running or completed."""
    return [run for run in runs if run.status in UNFINISHED]


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


def remove(runs: Sequence[Run]) -> list[tuple[Run, str]]:
    """Deletes the folders of `runs`, and returns the runs whose folders stay, each with the reason.

    Each record is read again just before its folder is deleted, because the run may have been resumed. A folder stays
    also when it is a link, holds another run, or holds files that no run writes.
    """
    kept = []
    for run in runs:
        try:
            current = read_run(run.folder)
            nested = [
                other
                for other in find([run.folder]).runs
                if os.path.realpath(other.folder) != os.path.realpath(run.folder)
            ]
            if current.id != run.id or current.status not in UNFINISHED:
                kept.append((run, f"it is {current.status} now"))
            elif os.path.islink(run.folder):
                kept.append((run, "its folder is a link"))
            elif nested:
                kept.append((run, f"its folder holds {plural(len(nested), 'other run')}"))
            elif foreign := _foreign_names(run.folder):
                kept.append((run, f"its folder holds files that no run writes: {', '.join(foreign)}"))
            else:
                shutil.rmtree(run.folder)
        except (ValueError, DfaError) as error:
            kept.append((run, str(error)))
        except OSError as error:
            kept.append((run, error.strerror or str(error)))
    return kept


def _foreign_names(folder: str) -> list[str]:
    """Lists up to three files in a run's folder that no run writes."""
    names = sorted(os.listdir(folder))
    return [name for name in names if not any(fnmatch(name, pattern) for pattern in RUN_FILES)][:3]
