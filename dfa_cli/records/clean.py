"""`dfa clean`: takes away runs that never came to their end."""

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

# what a run writes into its folder; `.*.tmp` is left by a process that was killed while it wrote
OF_A_RUN = (RECORD, METRICS, LOG, WEIGHTS, CHECKPOINT, ".hydra", ".*.tmp")


def removable(runs: Sequence[Run]) -> list[Run]:
    """Failed, interrupted and killed runs; never one that is running or completed."""
    return [run for run in runs if run.status in UNFINISHED]


def folder_bytes(run: Run) -> int:
    """Bytes in the run's folder."""
    total = 0
    for folder, _, files in os.walk(run.folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except OSError:
                continue
    return total


def remove(runs: Sequence[Run]) -> list[tuple[Run, str]]:
    """Deletes the folders of `runs`; returns those that stayed, with the reason.

    Each record is read again just before: a run may have been resumed, or its folder may hold others, or files that
    are no run's.
    """
    stayed = []
    for run in runs:
        try:
            now = read_run(run.folder)
            inside = [
                one
                for one in find([run.folder]).runs
                if os.path.realpath(one.folder) != os.path.realpath(run.folder)
            ]
            if now.id != run.id or now.status not in UNFINISHED:
                stayed.append((run, f"it is {now.status} now"))
            elif os.path.islink(run.folder):
                stayed.append((run, "its folder is a link"))
            elif inside:
                stayed.append((run, f"its folder holds {plural(len(inside), 'other run')}"))
            elif foreign := _foreign(run.folder):
                stayed.append((run, f"its folder holds files that are no run's: {', '.join(foreign)}"))
            else:
                shutil.rmtree(run.folder)
        except (ValueError, DfaError) as error:
            stayed.append((run, str(error)))
        except OSError as error:
            stayed.append((run, error.strerror or str(error)))
    return stayed


def _foreign(folder: str) -> list[str]:
    """The first names in a run's folder that no run gives."""
    names = sorted(os.listdir(folder))
    return [name for name in names if not any(fnmatch(name, ours) for ours in OF_A_RUN)][:3]
