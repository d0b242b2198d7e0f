"""Keeps two processes from writing one run, and from running one configuration at once.

The lock of a folder is the file `.lock` in it. Whoever writes a run, continues it or deletes it holds this lock, and
`owned` takes it. The lock of a configuration is `.claims/IDENTITY.lock` in the output folder. The process that runs the
configuration holds it, and `claim` takes it. Beside it the file `.claims/IDENTITY` keeps the path of the folder in
which the configuration was run last. A process that needs both takes the claim first. Only a job of a sweep owns its
own new folder before, which nobody but a second start of the same job can want.

`machine/locks.py` explains when a lock counts as held.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from pathlib import Path

from dfa_cli.console.messages import notify, shortest
from dfa_cli.errors import DfaError
from dfa_cli.machine.files import cannot_write, disk_errors_as_sentences, make_folder, write_atomically
from dfa_cli.machine.locks import SILENT_SECONDS, Holder, Lock, LockedError, holder_of, locked
from dfa_cli.records.run import LOCK, record_of

CLAIMS = ".claims"


class InUseError(DfaError):
    """Another process holds the lock that is needed: `holder`."""

    def __init__(self, sentence: str, holder: Holder):
        super().__init__(sentence)
        self.holder = holder


@contextlib.contextmanager
def owned(folder: Path, force: bool = False) -> Iterator[Lock]:
    """Owns the folder of a run for the block. The folder must exist.

    `force`: own it also where nobody can tell whether the process that owns it is alive. Raises `InUseError` when
    another process owns the folder, and `DfaError` when the folder cannot be written.
    """
    with _locked(folder / LOCK, shortest(folder), force) as lock:
        yield lock


def owner(folder: str | os.PathLike[str]) -> Holder | None:
    """Returns the process that owns the folder of a run, or `None` when nobody does."""
    return holder_of(Path(folder, LOCK))


class Claim:
    """The right to run a configuration, which this process has until the block of `claim` ends."""

    def __init__(self, outputs: Path, identity: str):
        self._outputs = outputs
        self._identity = identity

    def last_run(self) -> Path | None:
        """Returns the folder of the last run of this configuration, or `None` if none is known or it is gone."""
        return last_run(self._outputs, self._identity)

    def run_in(self, folder: Path) -> None:
        """Notes that `folder` is where the configuration runs now."""
        # The path is relative, so that the output folder can be moved.
        name = os.path.relpath(folder, self._outputs)
        with disk_errors_as_sentences(self._outputs / CLAIMS):
            write_atomically(self._outputs / CLAIMS / self._identity, name)


@contextlib.contextmanager
def claim(outputs: Path, identity: str, force: bool = False) -> Iterator[Claim]:
    """Claims a configuration for the block.

    `force`: as in `owned`. Raises `InUseError` when another process has the claim, and `DfaError` when the folder
    cannot be written.
    """
    path = outputs / CLAIMS / f"{identity}.lock"
    make_folder(path.parent)
    with _locked(path, f"the configuration {identity}", force):
        yield Claim(outputs, identity)


@contextlib.contextmanager
def only_one(path: Path, what: str) -> Iterator[None]:
    """Holds the lock at `path` for the block. `what` is in use then, and the error says so to another process.

    Raises `InUseError` when another process holds the lock, and `DfaError` when the folder cannot be written.
    """
    make_folder(path.parent)
    try:
        with _locked(path, what):
            yield
    except InUseError as error:
        if error.holder.certain:
            raise
        raise InUseError(
            f"{what} is in use by {error.holder}. This machine cannot ask whether that process is alive. If you know "
            f"that it is dead, delete {shortest(path)}.",
            error.holder,
        ) from None


def runner(outputs: Path, identity: str) -> Holder | None:
    """Returns the process that runs a configuration now, or `None` when nobody does.

    It has a claim, or it owns the folder of the last run, as `dfa resume` does.
    """
    claimed_by = holder_of(outputs / CLAIMS / f"{identity}.lock")
    if claimed_by is None and (folder := last_run(outputs, identity)) is not None:
        return owner(folder)
    return claimed_by


def last_run(outputs: Path, identity: str) -> Path | None:
    """Returns the folder of the last run of a configuration, or `None` if none is known or it is gone."""
    try:
        name = (outputs / CLAIMS / identity).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    folder = outputs / name
    # The file says where to look, and only the record there says what it is.
    return folder if name and record_of(folder).get("identity") == identity else None


@contextlib.contextmanager
def _locked(path: Path, what: str, force: bool = False) -> Iterator[Lock]:
    with contextlib.ExitStack() as stack:
        try:
            lock = stack.enter_context(locked(path, force))
        except LockedError as error:
            raise InUseError(f"{what} {in_use_by(error.holder)}", error.holder) from None
        except OSError as error:
            raise DfaError(cannot_write(path.parent, error)) from error
        if not lock.has_flock:
            _say_that_there_are_no_locks()
        yield lock


def in_use_by(holder: Holder) -> str:
    """Says who has something in use, and what to do. The sentence lacks its subject."""
    if holder.certain:
        return f"is in use by {holder}; wait until it has ended, or stop it."
    limit = f"It counts as dead when it has been silent for {SILENT_SECONDS / 60:.0f} minutes. "
    return (
        f"is in use by {holder}. This machine cannot ask whether that process is alive. "
        f"{limit if holder.silent is not None else ''}"
        "If you know that it is dead, dfa resume and dfa clean take --force."
    )


@functools.cache
def _say_that_there_are_no_locks() -> None:
    notify(
        "the disk of the output folder has no file locks, so each run is marked by a file that names its process. "
        f"After a crash of another machine its runs count as running for {SILENT_SECONDS / 60:.0f} minutes"
    )
