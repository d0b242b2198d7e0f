"""A sweep over combinations that are all known before the first one starts."""

from __future__ import annotations

import os
import time
from pathlib import Path

from dfa_cli.sweeps.plan import SweepRun
from dfa_cli.sweeps.specs import PlacedRun, write_specs
from dfa_cli.sweeps.supervisor import POLL_SECONDS, Supervisor, Watcher

MOST_IN_VAIN = 3  # workers that are killed one after the other before any of them has begun a job


class Grid(Supervisor):
    """Runs the planned jobs in batches: all at first, then again those whose process was killed."""

    def __init__(
        self, runs: list[SweepRun], top: Path, outputs: Path, watcher: Watcher, fail_fast: bool = False
    ):
        super().__init__(runs, top, outputs, watcher, fail_fast)
        first = runs[0].composed
        assert first is not None
        self._hydra = first.hydra
        self._at_once: int | None = None
        self._environment: dict[str, str] = {}
        # submitit's local launcher starts all that it gets, at once
        if first.launcher["_target_"].endswith(".LocalLauncher"):
            self._at_once, self._environment = os.cpu_count() or 1, {"OMP_NUM_THREADS": "1"}
        # by run id; those of earlier batches stay, since a cluster may still have them in its queue
        self._placed: dict[str, PlacedRun] = {}

    def _run_all(self) -> None:
        in_vain = 0
        while not self._to_stop():
            self._ask_about_others()
            if batch := self._next_batch():
                before = [(run.state, run.attempts) for run in self.runs]
                code = self._run_batch(batch)
                in_vain = in_vain + 1 if before == [(run.state, run.attempts) for run in self.runs] else 0
                # killed before it had begun a job, it may be luckier the next time; otherwise nothing would change
                if in_vain and not self.stopping and (code >= 0 or in_vain >= MOST_IN_VAIN):
                    self._give_up(batch, code)
            elif any(run.state == "elsewhere" for run in self.runs):
                self._watcher.show(self)
                time.sleep(POLL_SECONDS)
            else:
                return

    def _next_batch(self) -> list[SweepRun]:
        """All that wait; but those whose process was killed come last and one by one, so that one takes no other."""
        waiting = [run for run in self.runs if run.state == "waiting"]
        return [run for run in waiting if run.attempts == 0] or waiting[:1]

    def _run_batch(self, batch: list[SweepRun]) -> int:
        first = len(self._placed)
        taken = {job.folder for job in self._placed.values()}
        for number, run in enumerate(batch, first):
            job = run.place(self.top, number, self.outputs, taken)
            taken.add(job.folder)
            self._placed[job.run_id] = job
        specs = write_specs(self.top, self._hydra, self._placed, list(self._placed)[first:])
        order = {"specs": str(specs), "first": first, "at_once": self._at_once}
        return self._run_worker(order, batch, self._environment)

    def _give_up(self, batch: list[SweepRun], code: int) -> None:
        words = self._last_words(code)
        for run in batch:
            if run.state == "waiting":
                run.state, run.reason, run.folder = "failed", words, None
