"""Files that are written whole or not at all, and the sentence for a folder that cannot be written."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from dfa_cli.errors import DfaError

_STALE_SECONDS = 24 * 3600  # a temporary file this old belongs to no process that is still writing it


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file that replaces `path` as a whole when the block ends, and leaves it as it was when the block fails.

    The content is written under a name of its own beside `path`, forced to the disk, and renamed. Two processes at
    once do no harm: the last one wins.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    try:
        with open(part, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:  # Ctrl-C too leaves nothing behind
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replaces `path` by a file with this content, or leaves it as it was."""
    with whole_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def landing(path: Path) -> Iterator[IO[bytes]]:
    """Opens a `whole_file` in a folder that is made for it, and removed again when the file does not come.

    What a killed process left in that folder more than a day ago is removed.
    """
    made = [folder for folder in path.parents if not os.path.exists(folder)]  # innermost first
    try:
        with ExitStack() as stack:
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_stale(path.parent)
            try:
                out = stack.enter_context(whole_file(path))
            except FileNotFoundError:
                # Another process failed just now, and removed the folder that it had made.
                path.parent.mkdir(parents=True, exist_ok=True)
                out = stack.enter_context(whole_file(path))
            yield out
    except BaseException:
        with suppress(OSError):  # a folder that another process has filled in the meantime stays
            for folder in made:
                folder.rmdir()
        raise


def _remove_stale(folder: Path) -> None:
    for part in folder.glob(".*.tmp"):
        with suppress(OSError):  # another process may be doing the same
            if time.time() - part.stat().st_mtime > _STALE_SECONDS:
                part.unlink()


@contextmanager
def disk_errors_as_sentences(place: Path | str, option: str = "outputs=FOLDER") -> Iterator[None]:
    """Turns an operating system's error inside the block into `cannot_write`, as a `DfaError`."""
    try:
        yield
    except OSError as error:
        raise DfaError(cannot_write(place, error, option)) from error


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it. Raises `DfaError` where that cannot be done."""
    with disk_errors_as_sentences(folder):
        folder.mkdir(parents=True, exist_ok=True)


# no disk left, or no permission
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def cannot_write(place: Path | str, error: OSError, option: str = "outputs=FOLDER") -> str:
    """One sentence on why nothing can be written to `place`, and the option that names another one."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"No space is left for {place}: free some, or name another disk with {option}."
    reason = error.strerror or str(error)
    return f"{place} cannot be written ({reason}): name another {option.rpartition('=')[2].lower()} with {option}."
