"""Makes the folder of a single run, and deletes it again when the run does not begin."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

from dfa_cli.console.messages import shortest
from dfa_cli.errors import DfaError
from dfa_cli.machine.files import fixable_errors_as_sentences, make_folder, remove_folder
from dfa_cli.records.curves import progress_of
from dfa_cli.records.locks import owned
from dfa_cli.records.run import LOCK, RECORD


@contextlib.contextmanager
def new_run_folder(folder: Path) -> Iterator[Path]:
    """Make the folder of a run, and own it for the block.

    The folder is deleted again if the run is refused before it has measured an epoch, even in a step of the first one,
    or interrupted before it has a record. It stays when the run fails by itself, as after an exception in the user's
    own code, of which run.log holds the traceback.
    Raises `InUseError` when another process owns the folder. Raises `DfaError` when the folder is not empty, since two
    runs would mix in it, and when it cannot be written.
    """
    new_folders = list(itertools.takewhile(lambda path: not path.exists(), (folder, *folder.parents)))
    try:
        make_folder(folder)
        with owned(folder) as lock:
            if any(path.name != LOCK for path in folder.iterdir()):
                raise DfaError(
                    f"{shortest(folder)} is not empty, and a run needs a folder of its own: "
                    "name another with hydra.run.dir=FOLDER."
                )
            try:
                with fixable_errors_as_sentences(folder):
                    yield folder
            except (DfaError, KeyboardInterrupt) as error:
                refused = isinstance(error, DfaError) and error.refuses and not progress_of(folder)[0]
                # If the folder was moved, another run may have its name by now.
                if lock.is_ours() and (refused or not (folder / RECORD).exists()):
                    with contextlib.suppress(OSError):  # The folder may be gone.
                        remove_folder(folder) if folder in new_folders else _delete_contents(folder)
                raise
    except (DfaError, KeyboardInterrupt):
        for path in new_folders:
            with contextlib.suppress(OSError):  # not empty
                path.rmdir()
        raise


def _delete_contents(folder: Path) -> None:
    """Delete what this process wrote into an empty folder of the user. The record goes last, the lock stays."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == RECORD):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()
