"""Turns the signals that end a process into `KeyboardInterrupt`, and remembers which of them came first.

Ctrl-C sends SIGINT. SLURM and `kill` send SIGTERM. A terminal that is closed sends SIGHUP.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_received: list[int] = []
_held_back = 0
_reason_file: Path | None = None


@contextmanager
def raised_as_interrupts(also_ignored: tuple[int, ...] = ()) -> Iterator[None]:
    """Raises `KeyboardInterrupt` in the block when a signal of `ENDING` comes.

    A signal that somebody else handles keeps its handler. A signal that is ignored stays ignored, as SIGHUP is after
    `nohup`, unless it is in `also_ignored`. Outside the main thread nothing changes, since Python allows it only there.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in ENDING:
            handler = signal.getsignal(number)
            if handler in (signal.SIG_DFL, signal.default_int_handler) or number in also_ignored:
                before[number] = signal.signal(number, _on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def remember(number: int) -> None:
    """Notes that a signal came. A process with handlers of its own calls it."""
    _received.append(number)


def _on_signal(number: int, frame: object) -> None:
    remember(number)
    if not _held_back:
        raise KeyboardInterrupt


@contextmanager
def held_back() -> Iterator[None]:
    """Raises no `KeyboardInterrupt` in the block, so that it can finish what it writes. The signal is remembered."""
    global _held_back
    _held_back += 1
    try:
        yield
    finally:
        _held_back -= 1


@contextmanager
def named_by(file: Path) -> Iterator[None]:
    """Makes `received` answer with the content of `file`, where another process writes which signal it got."""
    global _reason_file
    before, _reason_file = _reason_file, file
    try:
        yield
    finally:
        _reason_file = before


def received() -> str | None:
    """Returns the name of the first signal that came, such as `SIGTERM`; `None` if none did."""
    if not _received:
        return None
    if _reason_file is not None:
        try:
            name = _reason_file.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            name = ""
        if name in {number.name for number in ENDING}:
            return name
    return signal.Signals(_received[0]).name


def exit_code() -> int:
    """Returns the exit code of an interrupted command: 130 after Ctrl-C, 143 after any other signal."""
    return 143 if received() in ("SIGTERM", "SIGHUP") else 130


def raise_if_received() -> None:
    """Raises `KeyboardInterrupt` if a signal came before, since a library may have swallowed the first one."""
    if _received:
        raise KeyboardInterrupt


def ignore() -> None:
    """Ignores further signals, if one has come, while the process ends."""
    if _received:
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)


def ignore_launcher() -> None:
    """Forgets the signals so far, and ignores SIGTERM from now on: this process ends for a reason of its own.

    A launcher such as torchrun ends all of its processes with SIGTERM when one of them has ended.
    """
    forget()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def forget() -> None:
    """Forgets the signals so far. A command calls it once, when it begins."""
    _received.clear()
