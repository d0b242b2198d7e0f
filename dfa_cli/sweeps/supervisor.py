"""Starts the process that runs a sweep's jobs, and follows the jobs by the files they write.

The files are the same whatever launcher runs the jobs, so all launchers are followed in the same way.
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
from dfa_cli.machine import signals
from dfa_cli.machine.files import cannot_write, write_atomically
from dfa_cli.records.locks import last_run, runner
from dfa_cli.records.run import read_run, record_of
from dfa_cli.sweeps import notes
from dfa_cli.sweeps.plan import SweepRun
from dfa_cli.sweeps.states import copy_result, update_from_disk

POLL_SECONDS = 0.2
OTHERS_SECONDS = 1.0  # time between two checks of the jobs that another sweep is running
MAX_ATTEMPTS = 2  # a job that needs too much memory would be killed at every attempt
FULL_BYTES = 64 * 1024  # a disk with less free space than this counts as full
WORKER_LOG = "worker.log"
# The worker's program. `python -m` and `python -c` put the current folder first on the path, where a queue.py would
# hide Python's own, and a sweep would find modules that `dfa train` does not find. With `-c` the program can remove it
# again.
WORKER = "import sys; sys.path[:] = filter(None, sys.path); from dfa_cli.sweeps.worker import main; main()"


class Watcher(Protocol):
    """Shows the state of a sweep. It is called after every change, and sometimes without one."""

    def show(self, sweep: Supervisor) -> None: ...


class Supervisor(ABC):
    """Runs the jobs of one sweep in worker processes. The subclasses `Grid` and `Search` choose the jobs.

    `runs`: the runs known so far.
    `sweep_folder`: the folder of the whole sweep.
    `outputs`: the folder below which equal runs of other sweeps are looked for.
    `fail_fast`: stop at the first failure.
    """

    max_attempts = MAX_ATTEMPTS

    def __init__(
        self,
        runs: list[SweepRun],
        sweep_folder: Path,
        outputs: Path,
        watcher: Watcher,
        fail_fast: bool = False,
    ):
        self.runs = runs
        self.sweep_folder = sweep_folder
        self.outputs = outputs
        self.fail_fast = fail_fast
        self.began: float | None = None  # when the first job began, some time after its process was started
        self.stopping = False  # after a signal
        self._watcher = watcher
        self._worker: subprocess.Popen[bytes] | None = None
        self._notes: notes.NotesCache = {}
        self._others_checked = 0.0

    def run(self) -> None:
        """Run all jobs. Returns when each has ended, or when a signal or `fail_fast` has stopped the sweep."""
        handled = list(signals.ENDING)
        if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # started with nohup
            handled.remove(signal.SIGHUP)
        previous = {number: signal.signal(number, self._on_signal) for number in handled}
        try:
            # An earlier sweep in the same folder may have left its stop file.
            (self.sweep_folder / notes.STOP).unlink(missing_ok=True)
            self._run_all()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            self._end_worker()
        for run in self.runs:
            if not run.ended:
                run.state = "stopped"
        self._watcher.show(self)

    @abstractmethod
    def _run_all(self) -> None:
        """Start workers until there is nothing left to run."""

    def _discover(self) -> None:
        """Add runs that have started since the last call. A grid knows all of its runs from the start."""
        return

    def _run_worker(
        self, order: Mapping[str, Any], runs: list[SweepRun], environment: Mapping[str, str] | None = None
    ) -> int:
        """Start a worker process and follow its jobs until it ends. Returns its exit code.

        `order`: the instructions for `worker.py`. `runs`: the runs that the order is about.
        """
        with open((self.sweep_folder / notes.STOP).with_name(WORKER_LOG), "ab") as log:
            # In a session of its own the worker gets Ctrl-C only from this process. When this process ends, the
            # pipe to the worker's input closes, and the worker ends, too.
            self._worker = subprocess.Popen(
                [sys.executable, "-c", WORKER, json.dumps(order)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        while (code := self._worker.poll()) is None:
            self._update_runs(runs)
            if self.fail_fast and not self.stopping and any(run.state == "failed" for run in self.runs):
                self._stop()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._worker.wait(POLL_SECONDS)
        self._end_worker()
        self._update_runs(runs)
        self._requeue_unfinished(runs)
        self._watcher.show(self)
        return code

    def _update_runs(self, runs: list[SweepRun]) -> None:
        self._discover()
        noted = notes.read_notes(self.sweep_folder, self._notes)
        for run in runs:
            # A launcher may start an interrupted job again.
            if not run.ended or run.state == "interrupted":
                update_from_disk(run, self.sweep_folder, noted)
        if self.began is None and any(run.state not in ("waiting", "reused") for run in self.runs):
            self.began = time.monotonic()
        self._check_other_sweeps()
        self._watcher.show(self)

    def _requeue_unfinished(self, runs: list[SweepRun]) -> None:
        """Put the runs that a worker left unfinished back into the queue, after its process has ended.

        A run whose process was killed `max_attempts` times counts as failed.
        """
        for run in runs:
            if run.ended or run.state == "elsewhere" or run.folder is None:
                continue
            try:
                state = read_run(run.folder).status
            except ValueError:
                run.state = "waiting"  # it has no record, so it was not begun
                continue
            if state == "running":  # its process has outlived the worker, or nobody can tell whether it has
                run.state = "elsewhere"
                run.attempts += 1
            else:
                run.attempts += 1
                run.state = "waiting"
                self._give_up_if_tried_enough(run)

    def _give_up_if_tried_enough(self, run: SweepRun) -> None:
        if run.attempts >= self.max_attempts:
            run.state = "failed"
            run.reason = "its process was killed, as the system does when memory runs out"

    def _check_other_sweeps(self) -> None:
        """Update the runs that another sweep was running.

        When the other sweep has stopped running a run, the run is reused if it is completed. Otherwise it waits here.
        """
        if time.monotonic() - self._others_checked < OTHERS_SECONDS:
            return
        self._others_checked = time.monotonic()
        for run in self.runs:
            if run.state == "elsewhere" and run.identity and runner(self.outputs, run.identity) is None:
                folder = last_run(self.outputs, run.identity)
                run.state = "waiting"
                self._give_up_if_tried_enough(run)
                if folder is not None and record_of(folder).get("status") == "completed":
                    run.state, run.folder = "reused", folder
                    copy_result(run, record_of(folder))

    def _must_stop(self) -> bool:
        return self.stopping or (self.fail_fast and any(run.state == "failed" for run in self.runs))

    def _why_worker_ended(self, code: int) -> str:
        """Say why the worker ended without running its jobs, from the disk's free space and the worker's log."""
        if shutil.disk_usage(self.sweep_folder).free < FULL_BYTES:  # the worker could not write its reason
            return cannot_write(self.sweep_folder, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        log = (self.sweep_folder / notes.STOP).with_name(WORKER_LOG)
        lines = [
            line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()
        ]
        errors = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Interrupt)\b", line)]
        last = (errors or lines or [f"exit code {code}"])[-1].strip()
        return f"the launcher ended before it ran this job ({last}; see {shortest(log)})"

    def _on_signal(self, number: int, frame: Any) -> None:
        if not self.stopping:
            self.stopping = True
            signals.remember(number)
            self._stop(signal.Signals(number).name)
        elif number == signal.SIGINT:  # Other signals come twice by themselves, as when a terminal is closed.
            self._kill(signal.SIGKILL)

    def _stop(self, reason: str = "") -> None:
        """Let no further job begin, and end the running ones, which are recorded as interrupted.

        `reason`: the name of the signal that this process has received. The processes of the jobs get SIGINT whatever
        it is, because joblib's processes would end at once after SIGTERM.
        """
        with contextlib.suppress(OSError):
            write_atomically(self.sweep_folder / notes.STOP, reason)
        self._kill(signal.SIGINT)

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
