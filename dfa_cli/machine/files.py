"""Writes files whole or not at all, and turns disk errors into sentences for the user."""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from dfa_cli.errors import DfaError

_STALE_SECONDS = 24 * 3600  # no process is still writing a temporary file of this age


@contextmanager
def open_atomically(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file that replaces `path` when the block ends; if the block fails, `path` stays as it was.

    The content is written to a temporary file beside `path`, forced onto the disk, and renamed. Two processes may do
    so at the same time: the file of the last one stays.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    try:
        with open(part, "xb") as file:
            yield file
            file.flush()
            force_onto_disk(file.fileno())
        os.replace(part, path)
    except BaseException:  # Ctrl-C must leave no temporary file behind either.
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def force_onto_disk(descriptor: int) -> None:
    """Forces what was written to an open file out of the system's cache, where the file system can do that.

    Some network disks and user-space file systems cannot. There a power cut may lose the last lines, and the run goes
    on.
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP):
            raise


def write_atomically(path: Path, content: str | bytes) -> None:
    """Replaces `path` by a file with this content; on an error `path` stays as it was."""
    with open_atomically(path) as file:
        # A record from elsewhere may hold half of a character pair, which has no bytes; it is spelt out.
        file.write(content.encode(errors="backslashreplace") if isinstance(content, str) else content)


@contextmanager
def open_atomically_in_new_folder(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file as `open_atomically` does, and makes the missing folders above it. Use it for downloads.

    If the block fails, the folders that were made are removed again. Temporary files that a killed process left in the
    folder more than a day ago are deleted.
    """
    missing = [folder for folder in path.parents if not os.path.exists(folder)]  # innermost first
    try:
        with ExitStack() as stack:
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_stale(path.parent)
            try:
                out = stack.enter_context(open_atomically(path))
            except FileNotFoundError:
                # Another process has just failed here, and has removed the folder that it had made.
                path.parent.mkdir(parents=True, exist_ok=True)
                out = stack.enter_context(open_atomically(path))
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


def make_folder(folder: Path, place: Path | None = None, option: str = "outputs=FOLDER") -> None:
    """Makes a folder and the folders above it. Raises `DfaError` where that is impossible.

    `place`, `option`: what the sentence names, and what to give in its stead.
    """
    place = place or folder
    with disk_errors_as_sentences(place, option):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:  # A file system of the kernel, such as /proc, takes no new folder.
            above = next(one for one in folder.absolute().parents if one.exists())
            raise DfaError(
                _UNMADE.format(place=place, above=above, kind=_kind(option), option=option)
            ) from error


REMOVED = ".removed-"  # how the hidden name of a folder begins that is being deleted


def remove_folder(folder: Path) -> None:
    """Deletes a folder. It gets a hidden name first, so that nobody sees it half deleted.

    If the process is killed meanwhile, the folder with the hidden name is left. Raises `OSError`.
    """
    folder = Path(os.path.abspath(folder))
    hidden = folder.with_name(f"{REMOVED}{os.urandom(4).hex()}")
    os.rename(folder, hidden)
    with suppress(
        FileNotFoundError
    ):  # Another process may be deleting what looks like the rest of a killed one.
        shutil.rmtree(hidden)


_FULL = "No space is left for {place}: free some, or name another disk with {option}."
_REFUSED = "{place} cannot be written ({reason}): name another {kind} with {option}."
_UNMADE = "{place} cannot be made, since {above} takes no new folder: name another {kind} with {option}."
_GONE = "{place} is not there any more ({reason}): it was deleted or moved meanwhile. Give the command again."
_SILENT = "The disk of {place} does not answer ({reason}): see whether it is still there, then give the command again."
_TOO_MANY = "Too many files are open to write {place} ({reason}): raise the limit, as with ulimit -n 4096."
# The errors of the system that the user can mend, each with a sentence. Any other error is a bug.
FIXABLE = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _FULL),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG), _REFUSED),
    **dict.fromkeys((errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EEXIST), _REFUSED),
    **dict.fromkeys((errno.ENOENT, errno.ESTALE), _GONE),
    **dict.fromkeys(
        (errno.EIO, errno.ENXIO, errno.ENODEV, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN), _SILENT
    ),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), _TOO_MANY),
}


def cannot_write(place: Path | str, error: OSError, option: str = "outputs=FOLDER") -> str:
    """Says in one sentence why nothing can be written to `place`, and what to do, such as to give `option`."""
    sentence = FIXABLE.get(error.errno or 0, _REFUSED)
    reason = error.strerror or str(error)
    return sentence.format(place=place, reason=reason, kind=_kind(option), option=option)


def _kind(option: str) -> str:
    return option.replace("=", " ").split()[-1].lower()


@contextmanager
def fixable_errors_as_sentences(place: Path) -> Iterator[None]:
    """Turns an error of the system that concerns the folder `place` into a `DfaError`. Any other error is a bug.

    It is for a block that does more than write to `place`.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FIXABLE or not _concerns(error, place):
            raise
        raise DfaError(cannot_write(place, error)) from error


def _concerns(error: OSError, place: Path) -> bool:
    """Tells whether the file that an error names, if any, is `place`, lies in it, or is a folder above it."""
    if not isinstance(error.filename, (str, bytes)):
        return True
    named, here = os.path.abspath(os.fsdecode(error.filename)), os.path.abspath(place)
    return os.path.commonpath((named, here)) in (named, here)
