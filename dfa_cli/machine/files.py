"""Whole files or none, and what a system says of a folder that cannot be written."""

from __future__ import annotations

import errno
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from dfa_cli.errors import DfaError

_STALE_SECONDS = 24 * 3600  # a part file this old belongs to no download that is still going on


@contextmanager
def landing(path: Path) -> Iterator[IO[bytes]]:
    """A file that stands at `path` whole once the block has ended, or not at all.

    It is written under a name of its own beside `path` and renamed, so that two processes at once do no harm:
    the last one wins, with the same content. Not forced to the disk: after a power cut the checksum tells.
    """
    made = [folder for folder in path.parents if not os.path.exists(folder)]  # innermost first
    part = path.parent / f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}.part"
    try:
        with _open_new(part) as out:
            yield out
        os.replace(part, path)
    except BaseException:  # Ctrl-C too leaves neither the part nor folders that were made for it
        with suppress(OSError):  # a folder that another process has filled in the meantime stays
            part.unlink(missing_ok=True)
            for folder in made:
                folder.rmdir()
        raise


def _open_new(part: Path) -> IO[bytes]:
    part.parent.mkdir(parents=True, exist_ok=True)
    for old in part.parent.glob(".*.part"):
        _remove_stale(old)
    try:
        return part.open("xb")
    except FileNotFoundError:  # another process failed just now and removed the folder that it had made
        part.parent.mkdir(parents=True, exist_ok=True)
        return part.open("xb")


def _remove_stale(part: Path) -> None:
    """Remove what a killed process left behind; another process may be doing the same."""
    with suppress(OSError):
        if time.time() - part.stat().st_mtime > _STALE_SECONDS:
            part.unlink()


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replace `path` by a file with this content, or leave it as it was; never a part of it, whatever fails."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(beside, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def plainly(folder: Path) -> Iterator[None]:
    """Turns what an operating system says of a folder into a sentence for its owner."""
    try:
        yield
    except OSError as error:
        raise DfaError(cannot_write(folder, error)) from error


# no disk left, or no permission
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def cannot_write(folder: Path | str, error: OSError) -> str:
    """One sentence on why nothing can be written to `folder`, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"No space is left for {folder}: free some, or name another disk with outputs=FOLDER."
    return f"{folder} cannot be written ({error.strerror}): name another folder with outputs=FOLDER."
