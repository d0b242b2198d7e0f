"""Writes files whole or not at all, and turns disk errors into sentences for the user."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from dfa_cli.errors import DfaError

_STALE_SECONDS = 24 * 3600  # no process is still writing a temporary file of this age


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file that replaces `path` when the block ends; if the block fails, `path` stays as it was.

    The content is written to a temporary file beside `path`, forced onto the disk, and renamed. Two processes may do
    so at the same time: the file of the last one stays.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    try:
        with open(part, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:  # Ctrl-C must leave no temporary file behind either.
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replaces `path` by a file with this content; on an error `path` stays as it was."""
    with whole_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def landing(path: Path) -> Iterator[IO[bytes]]:
    """Opens a `whole_file`, and makes the missing folders above it. It is meant for downloads above all.

    If the block fails, the folders that were made are removed again. Temporary files that a killed process left in the
    folder more than a day ago are deleted.
    """
    missing = [folder for folder in path.parents if not os.path.exists(folder)]  # innermost first
    try:
        with ExitStack() as stack:
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_stale(path.parent)
            try:
                out = stack.enter_context(whole_file(path))
            except FileNotFoundError:
                # Another process has just failed here, and has removed the folder that it had made.
                path.parent.mkdir(parents=True, exist_ok=True)
                out = stack.enter_context(whole_file(path))
            yield out
    except BaseException:
        with suppress(OSError):  # A folder that another process has filled in the meantime cannot be removed.
            for folder in missing:
                folder.rmdir()
        raise


def _remove_stale(folder: Path) -> None:
    for part in folder.glob(".*.tmp"):
        with suppress(OSError):  # Another process may be deleting the same file.
            if time.time() - part.stat().st_mtime > _STALE_SECONDS:
                part.unlink()


@contextmanager
def disk_errors_as_sentences(place: Path | str, option: str = "outputs=FOLDER") -> Iterator[None]:
    """Turns an `OSError` in the block into a `DfaError` with the sentence of `cannot_write`."""
    try:
        yield
    except OSError as error:
        raise DfaError(cannot_write(place, error, option)) from error


def make_folder(folder: Path) -> None:
    """Makes a folder and the folders above it. Raises `DfaError` where that is impossible."""
    with disk_errors_as_sentences(folder):
        folder.mkdir(parents=True, exist_ok=True)


# the errors of a full disk, of a disk that is read-only, and of missing permission
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def cannot_write(place: Path | str, error: OSError, option: str = "outputs=FOLDER") -> str:
    """Says in one sentence why nothing can be written to `place`, and with which option to name another place."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"No space is left for {place}: free some, or name another disk with {option}."
    reason = error.strerror or str(error)
    return f"{place} cannot be written ({reason}): name another {option.rpartition('=')[2].lower()} with {option}."
