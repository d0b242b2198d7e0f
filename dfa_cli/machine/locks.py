"""Locks on files, which end with the process that holds them, and which say who that is.

A lock is a file that exists while the lock is held. Its content names the holder. There are two proofs that the holder
is alive:

- The holder has the file locked with `flock`. The operating system releases that lock when the process ends, however
  it ends. Some network disks do not pass it on to other machines, and some have no such locks at all.
- The holder's *heartbeat*: a thread touches the file every `HEARTBEAT_SECONDS`.

So a lock that is free with `flock` proves that the holder is dead only to a process on the same machine, since the same
boot, and in the same PID namespace (a container has its own). To every other process, and where there is no `flock`, a
holder counts as dead when its last heartbeat is `SILENT_SECONDS` old.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dfa_cli.machine.process import is_running, process_started

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

HEARTBEAT_SECONDS = 30.0
SILENT_SECONDS = 600.0
# A process that only asks who holds a lock has it locked for an instant, so a lock is tried several times.
TRIES, PAUSE_SECONDS = 4, 0.05


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock.

    `boot` and `namespace` name the boot of the system and the PID namespace; `None` where the system does not tell.
    `started`: when the process started, in clock ticks after the boot. `slurm_job`, `slurm_restarts`: the SLURM job,
    and how often SLURM has put it back into its queue. `has_flock`: whether it could lock the file with `flock`.
    `certain`: whether it is proved that the process is alive. If not, only its last heartbeat, `silent` seconds ago,
    says so, or nothing does if `silent` is `None`.
    """

    host: str = "?"
    boot: str | None = None
    namespace: str | None = None
    pid: int = 0
    started: float | None = None
    slurm_job: str | None = None
    slurm_restarts: int = 0
    has_flock: bool = True
    certain: bool = True
    silent: float | None = None

    def __str__(self) -> str:
        who = f"process {self.pid or '?'} on {self.host}"
        return who if self.silent is None else f"{who}, last heard of {self.silent:.0f} s ago"

    def is_near(self) -> bool:
        """Tell whether this process can see the other: on this machine, since the same boot, in its PID namespace."""
        here = this_process()
        return here["boot"] is not None and (self.boot, self.namespace) == (here["boot"], here["namespace"])

    def has_ended(self) -> bool:
        """Tell whether it is certain that the process has ended."""
        return self.is_near() and not is_running(self.pid, self.started)


class LockedError(Exception):
    """Another process holds the lock: `holder`."""

    def __init__(self, holder: Holder):
        super().__init__(str(holder))
        self.holder = holder


class Lock:
    """A lock that this process holds. `has_flock`: whether the file system has locks."""

    def __init__(self, path: Path, descriptor: int, has_flock: bool):
        self.path = path
        self.has_flock = has_flock
        self.depth = 1  # how many blocks of `locked` in this process have it
        self._descriptor = descriptor
        words = {**this_process(), "has_flock": has_flock, "token": os.urandom(8).hex()}
        self._content = json.dumps(words).encode()
        os.pwrite(descriptor, self._content, 0)
        os.ftruncate(descriptor, len(self._content))

    def is_ours(self) -> bool:
        """Tells whether the lock still stands at its path. It does not once its folder was moved or deleted, or once
        this process was silent for so long that another one took the lock over."""
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self._descriptor)) and (
                os.pread(self._descriptor, 4096, 0) == self._content
            )
        except OSError:
            return False

    def beat(self) -> None:
        with contextlib.suppress(OSError):
            os.utime(self._descriptor if os.utime in os.supports_fd else self.path)

    def release(self) -> None:
        if self.is_ours():
            with contextlib.suppress(OSError):
                os.unlink(self.path)
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


@contextlib.contextmanager
def locked(path: Path, force: bool = False) -> Iterator[Lock]:
    """Holds the lock at `path` for the block. A block inside another one for the same path has the same lock.

    `force`: take the lock over where it is not certain that its holder is alive. Raises `LockedError` when another
    process holds the lock, and `OSError` when the file cannot be written.
    """
    path = _real(path)
    lock = _held.get(path)
    if lock is None:
        lock = _held[path] = _acquire(path, force)
        _heart.start()
    else:
        lock.depth += 1
    try:
        yield lock
    finally:
        lock.depth -= 1
        if lock.depth == 0 and _held.get(path) is lock:  # not in a child of the process that took it
            del _held[path]
            lock.release()


def holder_of(path: Path) -> Holder | None:
    """Returns the process that holds the lock at `path`, or `None` when nobody does. Nothing is written.

    A lock that cannot be read counts as held, by a process that nobody knows.
    """
    if _real(path) in _held:
        return Holder(**this_process())
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            # A shared lock is enough to ask, and network disks grant it on a file that is open for reading only.
            return _living_holder(descriptor, _flock(descriptor, shared=True))
        finally:
            os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return Holder(certain=False)


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path.parent), path.name)


def _acquire(path: Path, force: bool) -> Lock:
    """Create the lock file, or take over the file of a dead process. Raises `LockedError` when the holder lives."""
    holder = Holder()
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE_SECONDS)
        try:
            descriptor, is_new = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), True
        except FileExistsError:
            try:
                descriptor, is_new = os.open(path, os.O_RDWR), False
            except FileNotFoundError:  # It was released in this instant.
                continue
        try:
            got_flock = _flock(descriptor)
            # The file may have been deleted, or its folder moved, between the opening and the lock.
            if not _stands_at(path, descriptor):
                os.close(descriptor)
                continue
            living = None if is_new and got_flock is not False else _living_holder(descriptor, got_flock)
            if living is not None and not (force and not living.certain):
                holder = living
            elif got_flock or is_new:
                return Lock(path, descriptor, has_flock=got_flock is not None)
            elif lock := _take_over(path, descriptor, force):
                return lock
            os.close(descriptor)
        except BaseException:
            with contextlib.suppress(OSError):
                if is_new and _stands_at(path, descriptor):
                    os.unlink(path)
                os.close(descriptor)
            raise
    raise LockedError(holder)


def _stands_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except OSError:
        return False


def _flock(descriptor: int, shared: bool = False) -> bool | None:
    """Locks an open file without waiting. Returns whether that worked; `None` where nobody can lock files.

    File systems without locks answer with many different errors, so any error counts.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _take_over(path: Path, descriptor: int, force: bool) -> Lock | None:
    """Takes over a lock whose holder is dead where there is no `flock`. Returns `None` if another process was faster.

    The process that makes a second file first may write its name into the lock. Before that it looks once more whether
    the holder is dead, because another process may have taken the lock over just before.
    """
    takeover = path.with_name(f"{path.name}.takeover")
    try:
        os.close(os.open(takeover, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
    except FileExistsError:
        with contextlib.suppress(OSError):
            if time.time() - takeover.stat().st_mtime > HEARTBEAT_SECONDS:  # its process was killed
                takeover.unlink()
        return None
    try:
        living = _living_holder(descriptor, None)
        if living is None or (force and not living.certain):
            return Lock(path, descriptor, has_flock=False)
        return None
    finally:
        with contextlib.suppress(OSError):
            takeover.unlink()


def _living_holder(descriptor: int, got_flock: bool | None) -> Holder | None:
    """Returns the holder that the content of an open lock names, or `None` if that process is dead.

    `got_flock`: whether this process got the lock, so that nobody else has it; `None` where there are no locks.
    """
    silent = max(0.0, time.time() - os.fstat(descriptor).st_mtime)
    named = _parse(os.pread(descriptor, 4096, 0))
    if got_flock is False:
        return named or Holder()
    if named is None:  # Its process was killed, or is about to write its name.
        return None if got_flock or silent > SILENT_SECONDS else Holder(certain=False, silent=silent)
    here = Holder(**this_process())
    if named.is_near():
        by_flock = got_flock and named.has_flock
        return None if by_flock or not is_running(named.pid, named.started) else named
    # Before SLURM starts a job again, it ends every process of the earlier start.
    same_job = named.slurm_job is not None and named.slurm_job == here.slurm_job
    if silent > SILENT_SECONDS or (same_job and named.slurm_restarts < here.slurm_restarts):
        return None
    return Holder(**{**asdict(named), "certain": False, "silent": silent})


def _parse(content: bytes) -> Holder | None:
    """Reads the holder from the content of a lock; `None` for content that no process has finished to write."""
    try:
        found = json.loads(content)
        return Holder(
            str(found["host"]),
            found.get("boot"),
            found.get("namespace"),
            int(found["pid"]),
            found.get("started"),
            found.get("slurm_job"),
            int(found.get("slurm_restarts") or 0),
            bool(found.get("has_flock")),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def this_process() -> Mapping[str, Any]:
    """Describe this process by the values of a `Holder`."""
    return _process(os.getpid())


@functools.lru_cache(maxsize=1)
def _process(pid: int) -> Mapping[str, Any]:
    restarts = os.environ.get("SLURM_RESTART_COUNT", "")
    return {
        "host": socket.gethostname(),
        "boot": boot_id(),
        "namespace": _pid_namespace(),
        "pid": pid,
        "started": process_started(pid),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
        "slurm_restarts": int(restarts) if restarts.isdigit() else 0,
    }


@functools.cache
def boot_id() -> str | None:
    """Returns a name of the start of this system, which is another one after a reboot; `None` where none is known."""
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "kern.bootsessionuuid"]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            return subprocess.run(
                command, capture_output=True, text=True, check=True, timeout=5
            ).stdout.strip()
        return None
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def _pid_namespace() -> str | None:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


class _Heart:
    """The thread that touches every lock of this process."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
            self._thread.start()

    def _beat(self) -> None:
        while True:
            time.sleep(HEARTBEAT_SECONDS)
            for lock in list(_held.values()):
                lock.beat()

    def stop(self) -> None:
        self._thread = None


_held: dict[Path, Lock] = {}
_heart = _Heart()


def _forget_in_child() -> None:
    """Closes the locks in a child of this process. It would keep them locked after the process itself has ended."""
    for lock in _held.values():
        lock.close()
    _held.clear()
    _heart.stop()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
