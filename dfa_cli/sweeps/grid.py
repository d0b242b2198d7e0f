"""Runs a sweep over combinations of values, all known before the first job starts."""

from __future__ import annotations

import functools
import operator
import os
import time
from pathlib import Path

from dfa_cli.sweeps.plan import SweepRun
from dfa_cli.sweeps.specs import PlacedRun, write_code, write_specs
from dfa_cli.sweeps.supervisor import POLL_SECONDS, Supervisor, Watcher

# The sweep gives up when this many workers in a row were killed before they began a job.
MAX_FRUITLESS_WORKERS = 3


class Grid(Supervisor):
    """Runs the planned jobs in batches: all jobs at first, then each job again whose process was killed."""

    def __init__(
        self,
        runs: list[SweepRun],
        sweep_folder: Path,
        outputs: Path,
        watcher: Watcher,
        fail_fast: bool = False,
    ):
        super().__init__(runs, sweep_folder, outputs, watcher, fail_fast)
        first = runs[0].composed
        assert first is not None
        self._hydra = first.hydra
        code = functools.reduce(operator.or_, (run.composed.spec.code for run in runs if run.composed))
        self._code = write_code(sweep_folder, outputs, code)
        self._at_once: int | None = None
        self._environment: dict[str, str] = {}
        # submitit's local launcher starts all jobs that it is given at the same time, so limit how many it is given.
        # Each of them gets one thread, since there is a job for each core.
        if first.launcher["_target_"].endswith(".LocalLauncher"):
            self._at_once, self._environment = os.cpu_count() or 1, {"OMP_NUM_THREADS": "1"}
        # The jobs by run id. Jobs of earlier batches are kept, since a cluster may still have them in its queue.
        self._placed: dict[str, PlacedRun] = {}

    def _run_all(self) -> None:
        fruitless = 0
        while not self._must_stop():
            self._check_other_sweeps()
            if batch := self._next_batch():
                before = [(run.state, run.attempts) for run in self.runs]
                code = self._run_batch(batch)
                fruitless = fruitless + 1 if before == [(run.state, run.attempts) for run in self.runs] else 0
                # A worker that was killed before it began a job (code < 0) may succeed at the next try. A worker that
                # ended by itself gets one more try: its launcher's process for the job may have been killed.
                limit = MAX_FRUITLESS_WORKERS if code < 0 else 2
                if fruitless >= limit and not self.stopping:
                    self._give_up(batch, code)
            elif any(run.state == "elsewhere" for run in self.runs):
                self._watcher.show(self)
                time.sleep(POLL_SECONDS)
            else:
                return

    def _next_batch(self) -> list[SweepRun]:
        """Return all jobs that have not been tried yet, or else one of those whose process was killed.

        The latter run one at a time, so that a job that kills its process again takes no other job with it.
        """
        waiting = [run for run in self.runs if run.state == "waiting"]
        return [run for run in waiting if run.attempts == 0] or waiting[:1]

    def _run_batch(self, batch: list[SweepRun]) -> int:
        first = len(self._placed)
        taken = {job.folder for job in self._placed.values()}
        for number, run in enumerate(batch, first):
            job = run.place(self.sweep_folder, number, self.outputs, taken)
            taken.add(job.folder)
            self._placed[job.run_id] = job
        specs = write_specs(self.sweep_folder, self._hydra, self._placed, list(self._placed)[first:])
        order = {"specs": str(specs), "first": first, "at_once": self._at_once, "code": str(self._code)}
        return self._run_worker(order, batch, self._environment)

    def _give_up(self, batch: list[SweepRun], code: int) -> None:
        reason = self._why_worker_ended(code)
        for run in batch:
            if run.state == "waiting":
                run.state, run.reason, run.folder = "failed", reason, None
