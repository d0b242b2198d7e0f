"""Every job of a sweep, known before the first one starts."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from dfa_cli.config.compose import Composed
from dfa_cli.launch.task import on_this_machine
from dfa_cli.records.find import find
from dfa_cli.sweeps.specs import PlacedRun

ENDED = ("completed", "reused", "failed", "interrupted", "stopped")


@dataclass(eq=False)
class SweepRun:
    """One run of a sweep and what has become of it.

    `state`: waiting; running; elsewhere (another sweep runs it now); completed; reused (its record was there);
    failed; interrupted; stopped (never begun). `label`: the overrides that tell it from the others; `composed`: its
    configuration, `None` for a trial of a search, which composes its own; `folder`: of its record, or where that will
    be; `attempts`: how often its process was killed.
    """

    label: str
    identity: str | None
    epochs: int
    composed: Composed | None = None
    state: str = "waiting"
    folder: Path | None = None
    reason: str = ""
    attempts: int = 0
    epoch: int = 0
    accuracy: float | None = None
    seconds: float | None = None

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def place(self, top: Path, number: int, outputs: Path, taken: Collection[str] = ()) -> PlacedRun:
        """Give the run a folder in that of the sweep, as job `number` of it, and a run id: new ones each time.

        `taken`: names of folders that others have been given. Where `hydra.sweep.subdir` names one of them again, or
        one that is there by now, the run id is added to it.
        """
        assert self.composed is not None
        run_id = self.composed.config.run_id = secrets.token_hex(4)
        name = self.composed.job_folder(number)
        if name in taken or (top / name).exists():
            name = f"{name}_{run_id}"
        self.folder = top / name
        spec = self.composed.spec.with_values(run_id=run_id, outputs=str(outputs), progress="none")
        return PlacedRun(spec, name)


@dataclass(frozen=True)
class Plan:
    """`runs`: each configuration once; `merged`: how many more jobs were named, equal to one of those."""

    runs: list[SweepRun]
    merged: int


def plan(jobs: Sequence[Composed], outputs: Path) -> Plan:
    """Jobs with the same identity become one run; those that have a completed record below `outputs` need not run.

    What `auto` stands for is decided here for this machine, and again by each job where it runs. Raises `DfaError` when
    this machine lacks what a job asks for.
    """
    done = completed_runs(outputs) if jobs[0].spec.config["reuse"] else {}
    labels = _labels([job.spec.overrides for job in jobs])
    runs: dict[str, SweepRun] = {}
    for job, label in zip(jobs, labels, strict=True):
        spec = on_this_machine(job.spec)
        if spec.identity in runs:
            continue
        run = runs[spec.identity] = SweepRun(label, spec.identity, spec.config["epochs"], job)
        if spec.identity in done:
            run.state, run.folder = "reused", done[spec.identity]
    return Plan(list(runs.values()), len(jobs) - len(runs))


def completed_runs(outputs: Path) -> dict[str, Path]:
    """Where each configuration that is completed below `outputs` has its newest record, by identity."""
    if not outputs.is_dir():
        return {}
    done: dict[str, Path] = {}
    for run in find([outputs]).runs:  # newest first
        if run.status == "completed" and run.identity:
            done.setdefault(run.identity, Path(run.folder))
    return done


def _labels(jobs: Sequence[list[str]]) -> list[str]:
    """Of each job the overrides that not all have; all of them where there is one job only."""
    common = set(jobs[0]).intersection(*jobs) if len(jobs) > 1 else set()
    return [" ".join(word for word in words if word not in common) or "the defaults" for words in jobs]
