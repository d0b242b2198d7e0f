"""Plans a sweep: merges equal jobs, and finds those that have a completed record already."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from dfa_cli.config.compose import Composed
from dfa_cli.config.schema import projects
from dfa_cli.launch.task import may_be_reused, resolve_spec
from dfa_cli.records.find import find
from dfa_cli.records.run import Run
from dfa_cli.sweeps.specs import PlacedRun

ENDED = ("completed", "reused", "failed", "interrupted", "stopped")


@dataclass(eq=False)
class SweepRun:
    """One run of a sweep and its state.

    `state`: waiting; running; elsewhere (another sweep runs it now); completed; reused (a completed record was found);
    failed; interrupted; stopped (never begun).
    `label`: the overrides that distinguish the run from the others of the sweep.
    `composed`: its configuration, or `None` for a trial of a search, which is composed by the sweeper.
    `folder`: the folder of its record, which may not exist yet.
    `attempts`: how often its process was killed.
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

    def place(self, sweep_folder: Path, number: int, outputs: Path, taken: Collection[str] = ()) -> PlacedRun:
        """Give the run a new run id, and the folder of job `number` inside the sweep's folder. Each attempt needs this.

        `taken`: the folder names of other runs. If the name is taken or the folder exists already, the run id is added
        to the name. This happens with a `hydra.sweep.subdir` that gives several jobs the same name.
        """
        assert self.composed is not None
        run_id = self.composed.config.run_id = secrets.token_hex(4)
        name = self.composed.job_folder(number)
        if name in taken or (sweep_folder / name).exists():
            name = f"{name}_{run_id}"
        self.folder = sweep_folder / name
        spec = self.composed.spec.with_values(run_id=run_id, outputs=str(outputs), progress="none")
        return PlacedRun(spec, name)


@dataclass(frozen=True)
class Plan:
    """The runs of a sweep, each configuration once.

    `merged`: the number of jobs that were left out because they equal another job.
    `without_device`: the rules of such jobs that do not use the device. With these rules, runs that differ only in the
    device are equal.
    `reused`: the records of the runs that are completed already.
    """

    runs: list[SweepRun]
    merged: int
    without_device: list[str]
    reused: list[Run]


def plan(jobs: Sequence[Composed], outputs: Path) -> Plan:
    """Merge jobs with the same identity into one run, and reuse completed records below `outputs`.

    `auto` is resolved here for this machine, and again by each job on the machine where it runs. Raises `DfaError` when
    this machine lacks what a job asks for.
    """
    reuse = jobs[0].spec.config["reuse"]
    done = completed_runs(outputs) if reuse else {}
    reused = []
    labels = _labels([job.spec.overrides for job in jobs])
    runs: dict[str, SweepRun] = {}
    without_device: dict[str, None] = {}
    for job, label in zip(jobs, labels, strict=True):
        spec = resolve_spec(job.spec)
        if spec.identity in runs:
            if not projects(spec.config):
                without_device[spec.choices["rule"]] = None
            continue
        run = runs[spec.identity] = SweepRun(label, spec.identity, spec.config["epochs"], job)
        earlier = done.get(spec.identity)
        if earlier is not None and may_be_reused(earlier, spec):
            run.state, run.folder = "reused", Path(earlier.folder)
            reused.append(earlier)
    return Plan(list(runs.values()), len(jobs) - len(runs), list(without_device), reused)


def completed_runs(outputs: Path) -> dict[str, Run]:
    """Map the identity of each configuration that is completed below `outputs` to its newest run."""
    if not outputs.is_dir():
        return {}
    done: dict[str, Run] = {}
    for run in find([outputs]).runs:  # newest first
        if run.status == "completed" and run.identity:
            done.setdefault(run.identity, run)
    return done


def _labels(jobs: Sequence[list[str]]) -> list[str]:
    """Label each job by the overrides that it does not share with all others.

    A single job is labelled by all of them.
    """
    common = set(jobs[0]).intersection(*jobs) if len(jobs) > 1 else set()
    return [" ".join(word for word in words if word not in common) or "the defaults" for words in jobs]
