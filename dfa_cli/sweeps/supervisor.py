"""Starts the process that runs a sweep's jobs, and follows them by what they write to disk.

What is on disk is the same whatever launcher runs the jobs, so one way of following them serves all.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from dfa_cli.console.messages import shortest
from dfa_cli.machine.files import cannot_write
from dfa_cli.records.locks import is_claimed, last_run
from dfa_cli.records.run import read_run, record_of
from dfa_cli.sweeps import notes
from dfa_cli.sweeps.plan import SweepRun
from dfa_cli.sweeps.states import look, summarise

POLL_SECONDS = 0.2
ASK_SECONDS = 1.0  # between two looks at what another sweep is running
MOST_ATTEMPTS = 2  # of a job whose process is killed; one that needs too much memory would be killed for ever
FULL_BYTES = 64 * 1024  # a disk with less room than this is full
WORKER_LOG = "worker.log"
# `python -m` would put the current folder first on the path: a queue.py in it would take the place of Python's own,
# and a sweep would find modules that the same words to `dfa train` do not
WORKER = "import sys; sys.path[:] = filter(None, sys.path); from dfa_cli.sweeps.worker import main; main()"


class Watcher(Protocol):
    """What is told of every change, and now and then of none."""

    def show(self, sweep: Supervisor) -> None: ...


class Supervisor(ABC):
    """The jobs of one sweep, from the first to the last; `Grid` and `Search` say which.

    `runs`: those known so far; `top`: the sweep's folder; `outputs`: the folder in which equal jobs of other sweeps are
    looked for; `fail_fast`: stop at the first failure.
    """

    most_attempts = MOST_ATTEMPTS

    def __init__(
        self, runs: list[SweepRun], top: Path, outputs: Path, watcher: Watcher, fail_fast: bool = False
    ):
        self.runs = runs
        self.top = top
        self.outputs = outputs
        self.fail_fast = fail_fast
        self.began: float | None = None  # when the first job did; to start a process takes its time
        self.signals = 0
        self._watcher = watcher
        self._worker: subprocess.Popen[bytes] | None = None
        self._notes: notes.Read = {}
        self._asked = 0.0

    @property
    def stopping(self) -> bool:
        return self.signals > 0

    def run(self) -> None:
        """Until every run has ended, or somebody stops it."""
        handled = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
        if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # nohup
            handled.remove(signal.SIGHUP)
        before = {one: signal.signal(one, self._on_signal) for one in handled}
        try:
            (self.top / notes.STOP).unlink(missing_ok=True)  # of an earlier sweep in the same folder
            self._run_all()
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)
            self._end_worker()
        for run in self.runs:
            if not run.ended:
                run.state = "stopped"
        self._watcher.show(self)

    @abstractmethod
    def _run_all(self) -> None:
        """Start workers until there is nothing left to run."""

    def _discover(self) -> None:
        """Add runs that have come up since the last look; a grid knows all of its from the start."""
        return

    def _run_worker(
        self, order: Mapping[str, Any], runs: list[SweepRun], environment: Mapping[str, str] | None = None
    ) -> int:
        """A process of the sweep's own from its start to its end, whatever that is. Returns its exit code.

        `order`: what `worker.py` is to do; `runs`: those that it has to do with.
        """
        with open((self.top / notes.STOP).with_name(WORKER_LOG), "ab") as log:
            # a session of its own: Ctrl-C is ours to pass on; a pipe for its input: it ends when we do
            self._worker = subprocess.Popen(
                [sys.executable, "-c", WORKER, json.dumps(order)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        while (code := self._worker.poll()) is None:
            self._look(runs)
            if self.fail_fast and not self.stopping and any(run.state == "failed" for run in self.runs):
                self._stop(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._worker.wait(POLL_SECONDS)
        self._end_worker()
        self._look(runs)
        self._settle(runs)
        self._watcher.show(self)
        return code

    def _look(self, runs: list[SweepRun]) -> None:
        self._discover()
        noted = notes.notes(self.top, self._notes)
        for run in runs:
            if not run.ended:
                look(run, self.top, noted)
        if self.began is None and any(run.state not in ("waiting", "reused") for run in self.runs):
            self.began = time.monotonic()
        self._ask_about_others()
        self._watcher.show(self)

    def _settle(self, runs: list[SweepRun]) -> None:
        """The process that ran the jobs has ended: what has not ended by now has gone down with it."""
        for run in runs:
            if run.ended or run.state == "elsewhere" or run.folder is None:
                continue
            try:
                state = read_run(run.folder).status
            except ValueError:
                run.state = "waiting"  # not begun
                continue
            if state == "running":  # a process that has outlived its launcher
                run.state = "elsewhere"
            else:
                run.attempts += 1
                run.state = "waiting"
                if run.attempts >= self.most_attempts:
                    run.state = "failed"
                    run.reason = "its process was killed, as the system does when memory runs out"

    def _ask_about_others(self) -> None:
        if time.monotonic() - self._asked < ASK_SECONDS:
            return
        self._asked = time.monotonic()
        for run in self.runs:
            if run.state == "elsewhere" and run.identity and not is_claimed(self.outputs, run.identity):
                folder = last_run(self.outputs, run.identity)
                run.state = "waiting"
                if folder is not None and record_of(folder).get("status") == "completed":
                    run.state, run.folder = "reused", folder
                    summarise(run, record_of(folder))

    def _to_stop(self) -> bool:
        return self.stopping or (self.fail_fast and any(run.state == "failed" for run in self.runs))

    def _last_words(self, code: int) -> str:
        """Why the worker ended without having run what it was to run."""
        if shutil.disk_usage(self.top).free < FULL_BYTES:  # it could not even say so
            return cannot_write(self.top, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        log = (self.top / notes.STOP).with_name(WORKER_LOG)
        lines = [
            line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()
        ]
        errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Interrupt)\b", line)]
        last = (errors or lines or [f"exit code {code}"])[-1].strip()
        return f"the launcher ended without running it ({last}; see {shortest(log)})"

    def _on_signal(self, number: int, frame: Any) -> None:
        self.signals += 1
        if self.signals == 1:
            self._stop(signal.SIGINT)
        else:
            self._kill(signal.SIGKILL)

    def _stop(self, number: int) -> None:
        """Begin no further job and end those that run; they are recorded as interrupted."""
        (self.top / notes.STOP).touch()
        self._kill(number)

    def _kill(self, number: int) -> None:
        if self._worker is not None and self._worker.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._worker.pid, number)

    def _end_worker(self) -> None:
        if self._worker is not None:
            self._kill(signal.SIGKILL)
            self._worker.wait()
            if self._worker.stdin is not None:
                self._worker.stdin.close()
            self._worker = None
