"""Keeps two processes from running the same configuration at once.

Each configuration has a file in `.claims/` of the output folder. The name of the file is the identity of the
configuration. The process that runs the configuration holds a lock on this file. The operating system releases the
lock when the process ends, however it ends, so a claim is never stale. The text of the file is the path of the folder
in which the configuration was run last.
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
# Several tries are needed, because `is_claimed` in another process holds the lock for an instant. PAUSE is in seconds.
TRIES, PAUSE = 3, 0.05


class Claim:
    """The right to run a configuration, which this process has until the block of `claim` ends."""

    def __init__(self, outputs: Path, file: IO[str]):
        self.outputs = outputs
        self._file = file

    def last_run(self) -> Path | None:
        """Returns the folder of the last run of this configuration, or `None` if none is known or it is gone."""
        self._file.seek(0)
        name = self._file.read().strip()
        folder = self.outputs / name
        return folder if name and (folder / RECORD).is_file() else None

    def run_in(self, folder: Path) -> None:
        """Notes in the claim's file that `folder` is where the configuration runs now."""
        self._file.seek(0)
        self._file.truncate()
        # The path is relative, so that the output folder can be moved.
        self._file.write(os.path.relpath(folder, self.outputs))
        self._file.flush()


@contextlib.contextmanager
def claim(outputs: Path, identity: str) -> Iterator[Claim | None]:
    """Claims a configuration for the block; the block gets `None` when another process holds the claim.

    On a file system without locks every claim succeeds. Raises `DfaError` when the folder cannot be written.
    """
    path = outputs / FOLDER / identity
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115
    except OSError as error:
        raise DfaError(cannot_write(path.parent, error)) from error
    with file:
        for tries_left in reversed(range(TRIES)):
            if _lock(file):
                yield Claim(outputs, file)
                return
            if tries_left:
                time.sleep(PAUSE)
        yield None


def is_claimed(outputs: Path, identity: str) -> bool:
    """Tells whether another process is running this configuration now."""
    try:
        with open(outputs / FOLDER / identity, "r+", encoding="utf-8") as file:
            return not _lock(file)
    except OSError:
        # The configuration was never claimed, or this user may not write here. A job that runs it will
        # report the second case.
        return False


def last_run(outputs: Path, identity: str) -> Path | None:
    """Returns the folder of the last run of this configuration without claiming it, or `None`."""
    try:
        with open(outputs / FOLDER / identity, encoding="utf-8") as file:
            return Claim(outputs, file).last_run()
    except OSError:
        return None


def _lock(file: IO[str]) -> bool:
    """Locks the file without waiting, and tells whether that worked; `True` where files cannot be locked."""
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
