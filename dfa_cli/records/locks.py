"""No two processes run the same configuration at once.

A file for each configuration, named by its identity, in `.claims/` of the output folder. Whoever runs it holds a
lock on the file, which the system lets go when the process ends, however it ends; a claim is never stale. What the
file says is where the configuration was run last.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from dfa_cli.errors import DfaError
from dfa_cli.machine.files import cannot_write
from dfa_cli.records.run import RECORD

FOLDER = ".claims"
TRIES, PAUSE = 3, 0.05  # somebody who only looks holds the lock for an instant


class Claim:
    """A configuration that is ours to run until the block ends."""

    def __init__(self, outputs: Path, file: IO[str]):
        self.outputs = outputs
        self._file = file

    def last_run(self) -> Path | None:
        """The folder of the last run of this configuration, if it is known and there."""
        self._file.seek(0)
        name = self._file.read().strip()
        folder = self.outputs / name
        return folder if name and (folder / RECORD).is_file() else None

    def run_in(self, folder: Path) -> None:
        """Say that the configuration is run in `folder` now."""
        self._file.seek(0)
        self._file.truncate()
        # relative, so that an output folder can be moved
        self._file.write(os.path.relpath(folder, self.outputs))
        self._file.flush()


@contextlib.contextmanager
def claim(outputs: Path, identity: str) -> Iterator[Claim | None]:
    """The claim on a configuration, or `None` when another process has it.

    On a file system without locks every claim is granted. Raises `DfaError` when the folder cannot be written.
    """
    path = outputs / FOLDER / identity
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise DfaError(cannot_write(path.parent, error)) from error
    with file:
        for left in reversed(range(TRIES)):
            if _lock(file):
                yield Claim(outputs, file)
                return
            if left:
                time.sleep(PAUSE)
        yield None


def is_claimed(outputs: Path, identity: str) -> bool:
    """Whether another process is running this configuration now."""
    try:
        with open(outputs / FOLDER / identity, "r+", encoding="utf-8") as file:
            return not _lock(file)
    except OSError:  # never claimed, or a folder that is not ours to write to: the job will say so
        return False


def last_run(outputs: Path, identity: str) -> Path | None:
    """What the claim says without taking it."""
    try:
        with open(outputs / FOLDER / identity, encoding="utf-8") as file:
            return Claim(outputs, file).last_run()
    except OSError:
        return None


def _lock(file: IO[str]) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            return True
        raise
    return True
