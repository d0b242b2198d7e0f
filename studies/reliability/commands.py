"""Starts commands of `dfa` in processes of their own, and kills them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dfa_cli.machine.process import is_running, process_started

TIMEOUT = 180.0  # seconds; a command that takes longer hangs
POLL = 0.004


@dataclass
class Command:
    """A command that was started. `processes`: those that the command had started when it was killed."""

    words: tuple[str, ...]
    process: subprocess.Popen[bytes]
    log: Path
    killed: bool = False
    processes: dict[int, float | None] = field(default_factory=dict)

    @property
    def output(self) -> str:
        return self.log.read_text("utf-8", errors="replace")

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def wait(self) -> int:
        """Wait for the end and return the exit code. A command that hangs is killed; its code is -9."""
        try:
            return self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def kill(self, target: str = "alone") -> bool:
        """Kill the command with SIGKILL, and tell whether this has ended a process.

        `target`: `alone`, the command itself; `jobs`, the process that a sweep has started for its jobs; `all`, the
        command and every process that it has started.
        """
        if not self.running:
            return False
        started = list(descendants_of(self.process.pid)) if target != "alone" or self.is_sweep else []
        victims = {"alone": [self.process.pid], "jobs": started[:1], "all": [self.process.pid, *started]}[
            target
        ]
        self.processes |= {pid: process_started(pid) for pid in started}
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.process.pid not in victims:
            return bool(victims)
        self.killed = self.process.wait() == -signal.SIGKILL  # It may have ended just before.
        return self.killed

    @property
    def is_sweep(self) -> bool:
        return self.words[:1] == ("sweep",)

    def end_processes(self, patience: float) -> None:
        """Wait for the processes that a killed command has left behind, and kill those that do not end."""
        wait_until(lambda: not self._left(), patience)
        for pid in self._left():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not self._left(), 5.0)

    def _left(self) -> list[int]:
        return [pid for pid, since in self.processes.items() if since is not None and is_running(pid, since)]


def start(words: tuple[str, ...], folder: Path, log: Path) -> Command:
    """Start `dfa` with these words in `folder`. What it prints goes to the file `log`."""
    return start_program((sys.executable, "-m", "dfa_cli.cli", *words), words, folder, log)


def start_program(
    program: tuple[str, ...],
    words: tuple[str, ...],
    folder: Path,
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> Command:
    """Start any program as `start` does. `words`: its name in the report. `environment`: variables that are added."""
    with open(log, "wb") as file:
        process = subprocess.Popen(
            program,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={**os.environ, **(environment or {})},
        )
    return Command(words, process, log)


def descendants_of(pid: int) -> Iterator[int]:
    """Yield all processes that `pid` has started, directly or not."""
    parents = parents_of_all()
    waiting = [pid]
    while waiting:
        above = waiting.pop(0)
        for child in sorted(child for child, parent in parents.items() if parent == above):
            yield child
            waiting.append(child)


def parents_of_all() -> dict[int, int]:
    """Map each process that has not ended to the one that has started it."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True
    ).stdout
    rows = [line.split() for line in listed.splitlines()]
    return {int(child): int(parent) for child, parent, state in rows if not state.startswith("Z")}


def wait_until(holds: Callable[[], object], seconds: float) -> bool:
    """Wait until the condition holds, at most for some seconds, and tell whether it does."""
    end = time.monotonic() + seconds
    while not (there := bool(holds())) and time.monotonic() < end:
        time.sleep(POLL)
    return there
