"""Makes the folder of a single run, and deletes it again when the run is refused."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from dfa_cli.console.messages import shortest
from dfa_cli.errors import DfaError
from dfa_cli.machine.files import UNWRITABLE, cannot_write, make_folder
from dfa_cli.records.curves import progress_of
from dfa_cli.records.run import record_of


@contextlib.contextmanager
def new_run_folder(folder: Path) -> Iterator[Path]:
    """Make the folder of a run. If the run is refused before its first epoch, the folder is deleted again.

    Raises `DfaError` when the folder is not empty, since two runs would mix in it, and when it cannot be written.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise DfaError(
            f"{shortest(folder)} is not empty, and a run needs a folder of its own: "
            "name another with hydra.run.dir=FOLDER."
        )
    new_folders = list(itertools.takewhile(lambda path: not path.exists(), (folder, *folder.parents)))
    make_folder(folder)
    try:
        yield folder
    except DfaError:
        if _was_written_by_this_process(folder) and not _has_trained(folder):
            _delete_contents(folder)
        for path in new_folders:
            with contextlib.suppress(OSError):  # not empty
                path.rmdir()
        raise
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise DfaError(cannot_write(folder, error)) from error


def _was_written_by_this_process(folder: Path) -> bool:
    """Whether this process wrote the record in the folder. Another process may have been given the same folder."""
    record = record_of(folder)
    return not record or (record.get("provenance") or {}).get("pid") == os.getpid()


def _has_trained(folder: Path) -> bool:
    return progress_of(folder)[0] > 0 or "train_seconds" in record_of(folder).get("time", {})


def _delete_contents(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
