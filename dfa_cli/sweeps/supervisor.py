"""Starts the process that runs a sweep's jobs, and follows them by what they write to disk.

What is on disk is the same whatever launcher runs the jobs, so one way of following them serves all.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from dfa_cli.config.overrides import quoted
from dfa_cli.console.messages import shortest
from dfa_cli.errors import DfaError
from dfa_cli.machine.files import cannot_write
from dfa_cli.records.locks import is_claimed, last_run
from dfa_cli.records.run import read, status
from dfa_cli.sweeps import notes, search
from dfa_cli.sweeps import task as job
from dfa_cli.sweeps.plan import Point
from dfa_cli.sweeps.states import look, summarise

POLL_SECONDS = 0.2
ASK_SECONDS = 1.0  # between two looks at what another sweep is running
MOST_ATTEMPTS = 2  # of a job whose process is killed; one that needs too much memory would be killed for ever
MOST_IN_VAIN = 3  # processes that are killed one after the other before any of them has begun a job
FULL_BYTES = 64 * 1024  # a disk with less room than this is full
ENGINE_LOG = "engine.log"
# `python -m` would put the current folder first on the path: a queue.py in it would take the place of Python's own,
# and a sweep would find modules that the same words to `dfa train` do not
ENGINE = "import sys; sys.path[:] = filter(None, sys.path); from dfa_cli.sweeps.worker import main; main()"


class Watcher(Protocol):
    """What is told of every change, and now and then of none."""

    def show(self, sweep: Sweep) -> None: ...


class Sweep:
    """The jobs of one sweep, from the first to the last.

    `top`: the sweep's folder; `outputs`: the folder in which equal jobs of other sweeps are looked for; `arguments`:
    those that are Hydra's (launcher, search path); `at_once`: how many jobs a launcher gets at a time.
    """

    def __init__(
        self,
        points: list[Point],
        top: Path,
        outputs: Path,
        arguments: Sequence[str],
        watcher: Watcher,
        fail_fast: bool = False,
        at_once: int | None = None,
        trials: search.Search | None = None,
        environment: dict[str, str] | None = None,
    ):
        self.points = points
        self.top = top
        self.outputs = outputs
        self.fail_fast = fail_fast
        self.trials = trials
        self.began: float | None = None  # when the first job did; to start a process takes its time
        self.signals = 0
        self._arguments = list(arguments)
        self._watcher = watcher
        self._environment = {**os.environ, **(environment or {})}
        self._at_once = at_once
        self._engine: subprocess.Popen[bytes] | None = None
        self._number = 0
        self._engines = 0
        self._notes: notes.Read = {}
        self._asked = 0.0

    @property
    def stopping(self) -> bool:
        return self.signals > 0

    def run(self) -> None:
        """Until every point has ended, or somebody stops it."""
        handled = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
        if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # nohup
            handled.remove(signal.SIGHUP)
        before = {one: signal.signal(one, self._on_signal) for one in handled}
        try:
            (self.top / notes.STOP).parent.mkdir(parents=True, exist_ok=True)
            (self.top / notes.STOP).unlink(missing_ok=True)  # of an earlier sweep in the same folder
            if self.trials is not None:
                self._search(self.trials)
            else:
                self._run_points()
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)
            self._end_engine()
        for point in self.points:
            if not point.ended:
                point.state = "stopped"
        self._watcher.show(self)

    def _run_points(self) -> None:
        in_vain = 0
        while not self._to_stop():
            self._ask_about_others()
            if batch := self._next_batch():
                before = [(point.state, point.attempts) for point in self.points]
                code = self._run_engine(self._listed(batch), batch)
                in_vain = (
                    in_vain + 1 if before == [(point.state, point.attempts) for point in self.points] else 0
                )
                # killed before it had begun a job, it may be luckier the next time; otherwise nothing would change
                if in_vain and not self.stopping and (code >= 0 or in_vain >= MOST_IN_VAIN):
                    self._give_up(batch, code)
            elif any(point.state == "elsewhere" for point in self.points):
                self._watcher.show(self)
                time.sleep(POLL_SECONDS)
            else:
                return

    def _search(self, trials: search.Search) -> None:
        while (left := trials.left()) > 0 and not self._to_stop():
            ended = sum(point.ended for point in self.points)
            code = self._run_engine([*trials.arguments(left), f"hydra.sweep.dir={quoted(str(self.top))}"], [])
            self._number = len(self.points)
            if code == 0:
                return
            if ended == sum(point.ended for point in self.points) and not self.stopping:
                raise DfaError(f"The search could not go on: {self._last_words(code)}")

    def _next_batch(self) -> list[Point]:
        """All that wait; but those whose process was killed come last and one by one, so that one takes no other."""
        waiting = [point for point in self.points if point.state == "waiting"]
        return [point for point in waiting if point.attempts == 0] or waiting[:1]

    def _listed(self, batch: list[Point]) -> list[str]:
        """Hydra's arguments for these jobs."""
        jobs = []
        # Hydra composes a job from the job's overrides and its own, and the launcher's group is neither
        groups = [word for word in self._arguments if word.startswith("launcher=")]
        for number, point in enumerate(batch, self._number):
            point.run_id = secrets.token_hex(4)
            point.folder = self.top / f"{number}_{point.run_id}"
            ours = (f"run_id='{point.run_id}'", "progress=none", f"outputs={quoted(str(self.outputs))}")
            jobs.append([*point.words, *groups, *ours])
        listed = (self.top / notes.STOP).with_name(f"jobs_from_{self._number}.json")
        listed.write_text(json.dumps(jobs, indent=1), encoding="utf-8")
        arguments = [
            *self._arguments,
            "hydra/sweeper=listed",
            f"hydra.sweeper.jobs={quoted(str(listed))}",
            f"hydra.sweeper.first={self._number}",
            f"hydra.sweeper.at_once={self._at_once or 'null'}",
            f"hydra.sweep.dir={quoted(str(self.top))}",
        ]
        self._number += len(batch)
        return arguments

    def _run_engine(self, arguments: list[str], batch: list[Point]) -> int:
        """From the start of the process to its end, whatever that is; returns its exit code."""
        command = [
            sys.executable,
            "-c",
            ENGINE,
            "--multirun",
            # a search numbers its trials from 0 in every process: the name keeps their folders apart
            f"hydra.job.name=dfa{self._engines or ''}",
            *arguments,
        ]
        self._engines += 1
        with open((self.top / notes.STOP).with_name(ENGINE_LOG), "ab") as log:
            # a session of its own: Ctrl-C is ours to pass on; a pipe for its input: it ends when we do
            self._engine = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=self._environment,
            )
        while (code := self._engine.poll()) is None:
            self._look(batch)
            if self.fail_fast and not self.stopping and any(point.state == "failed" for point in self.points):
                self._stop(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._engine.wait(POLL_SECONDS)
        self._end_engine()
        self._look(batch)
        self._settle(batch if self.trials is None else self.points)
        self._watcher.show(self)
        return code

    def _look(self, batch: list[Point]) -> None:
        if self.trials is not None:
            self._discover()
        noted = notes.notes(self.top, self._notes)
        for point in self.points if self.trials is not None else batch:
            if not point.ended:
                look(point, noted)
        if self.began is None and any(point.state not in ("waiting", "reused") for point in self.points):
            self.began = time.monotonic()
        self._ask_about_others()
        self._watcher.show(self)

    def _discover(self) -> None:
        """The trials of a search are known by the folders they make."""
        known = {point.folder for point in self.points}
        for folder in sorted(self.top.iterdir()):
            if folder not in known and (folder / "run.json").exists():
                record = status(folder)
                words = job.named(record.get("overrides") or ())
                label = self.trials.label(words) if self.trials else " ".join(words)
                self.points.append(
                    Point(
                        words,
                        label,
                        record.get("identity"),
                        (record.get("config") or {}).get("epochs", 0),
                        folder=folder,
                    )
                )

    def _settle(self, batch: list[Point]) -> None:
        """The process that ran the jobs has ended: what has not ended by now has gone down with it."""
        for point in batch:
            if point.ended or point.state == "elsewhere" or point.folder is None:
                continue
            try:
                state = read(point.folder).status
            except ValueError:
                point.state = "waiting"  # not begun
                continue
            if state == "running":  # a worker that has outlived its launcher
                point.state = "elsewhere"
            else:
                point.attempts += 1
                point.state = "waiting"
                if point.attempts >= MOST_ATTEMPTS or self.trials is not None:
                    point.state = "failed"
                    point.reason = "its process was killed, as the system does when memory runs out"

    def _ask_about_others(self) -> None:
        if time.monotonic() - self._asked < ASK_SECONDS:
            return
        self._asked = time.monotonic()
        for point in self.points:
            if point.state == "elsewhere" and point.identity and not is_claimed(self.outputs, point.identity):
                folder = last_run(self.outputs, point.identity)
                point.state = "waiting"
                if folder is not None and status(folder).get("status") == "completed":
                    point.state, point.folder = "reused", folder
                    summarise(point, status(folder))

    def _to_stop(self) -> bool:
        return self.stopping or (self.fail_fast and any(point.state == "failed" for point in self.points))

    def _give_up(self, batch: list[Point], code: int) -> None:
        words = self._last_words(code)
        for point in batch:
            if point.state == "waiting":
                point.state, point.reason = "failed", words
                point.folder = None

    def _last_words(self, code: int) -> str:
        if shutil.disk_usage(self.top).free < FULL_BYTES:  # it could not even say so
            return cannot_write(self.top, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
        log = (self.top / notes.STOP).with_name(ENGINE_LOG)
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
        if self._engine is not None and self._engine.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._engine.pid, number)

    def _end_engine(self) -> None:
        if self._engine is not None:
            self._kill(signal.SIGKILL)
            self._engine.wait()
            if self._engine.stdin is not None:
                self._engine.stdin.close()
            self._engine = None
