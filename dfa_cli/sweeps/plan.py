"""Plans a sweep: merges equal jobs, and finds those that have a completed record already."""

from __future__ import annotations

import contextlib
import functools
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from dfa_cli.config.compose import Composed
from dfa_cli.config.identity import identity
from dfa_cli.config.schema import projects
from dfa_cli.config.spec import RunSpec
from dfa_cli.launch.task import resolve_spec, resumed_for, why_not_reused
from dfa_cli.records.code import changed_files
from dfa_cli.records.find import Found, find
from dfa_cli.records.locks import last_run, runner
from dfa_cli.records.run import Run, read_run
from dfa_cli.sweeps.specs import PlacedRun

ENDED = ("completed", "reused", "failed", "interrupted", "stopped")


@dataclass(frozen=True)
class EarlierRun:
    """What is known of earlier runs of a job's configuration. All fields are empty if there were none.

    `run`: the run that the job reuses, resumes or repeats.
    `why_not_reused`: why `run` is repeated although it is completed.
    `resumes_after`: the epoch after which the job resumes `run`.
    `running`: whether another process runs the configuration now.
    """

    run: Run | None = None
    why_not_reused: str | None = None
    resumes_after: int | None = None
    running: bool = False

    @property
    def is_reused(self) -> bool:
        return self.run is not None and self.why_not_reused is None and self.resumes_after is None


NO_EARLIER_RUN = EarlierRun()


@dataclass(eq=False)
class SweepRun:
    """One run of a sweep and its state.

    `state`: waiting; running; elsewhere (another sweep runs it now); completed; reused (a completed record was found);
    failed; interrupted; stopped (never begun).
    `label`: the overrides that distinguish the run from the others of the sweep.
    `composed`: its configuration, or `None` for a trial of a search, which is composed by the sweeper.
    `folder`: the folder of its record, which may not exist yet.
    `attempts`: how often its process was killed.
    `earlier`: what was known of earlier runs when the sweep was planned.
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
    earlier: EarlierRun = NO_EARLIER_RUN

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
    `found`: the runs that are below the output folder already.
    """

    runs: list[SweepRun]
    merged: int
    without_device: list[str]
    found: Found

    @property
    def completed(self) -> list[Run]:
        return completed_runs(self.found)


def plan(jobs: Sequence[Composed], outputs: Path) -> Plan:
    """Merge jobs with the same identity into one run, and reuse completed records below `outputs`. Nothing is written.

    `auto` is resolved here for this machine, and again by each job on the machine where it runs. Raises `DfaError` when
    this machine lacks what a job asks for.
    """
    found = runs_below(outputs)
    history = _History(completed_runs(found), outputs)
    labels = _labels([job.spec.overrides for job in jobs])
    runs: dict[str, SweepRun] = {}
    without_device: dict[str, None] = {}
    for job, label in zip(jobs, labels, strict=True):
        spec = resolve_spec(job.spec)
        if spec.identity in runs:
            kept = runs[spec.identity].composed
            is_other_device = kept is not None and kept.spec.choices.get("device") != spec.choices.get(
                "device"
            )
            if is_other_device and not projects(spec.config):
                without_device[spec.choices["rule"]] = None
            continue
        run = runs[spec.identity] = SweepRun(label, spec.identity, spec.config["epochs"], job)
        run.earlier = history.earlier_run(spec)
        if run.earlier.is_reused:
            assert run.earlier.run is not None
            run.state, run.folder = "reused", Path(run.earlier.run.folder)
    return Plan(list(runs.values()), len(jobs) - len(runs), list(without_device), found)


def runs_below(outputs: Path) -> Found:
    """Find the runs below the output folder, which need not exist."""
    return find([outputs]) if outputs.is_dir() else Found([str(outputs)])


def completed_runs(found: Found) -> list[Run]:
    """Return the completed runs, newest first."""
    return [run for run in found.runs if run.status == "completed"]


class _History:
    """Finds earlier runs of a job. `completed`: the completed runs below `outputs`, newest first."""

    def __init__(self, completed: Sequence[Run], outputs: Path):
        self._outputs = outputs
        self._completed = completed
        self._by_identity = {run.identity: run for run in reversed(completed) if run.identity}

    def earlier_run(self, spec: RunSpec) -> EarlierRun:
        """Tell what the job will reuse or resume. The job looks once more when it starts (`task.py`)."""
        run = self._by_identity.get(spec.identity)
        why = why_not_reused(run, spec) if run is not None else None
        if run is not None and why is None:
            return EarlierRun(run)
        if runner(self._outputs, spec.identity) is not None:
            return EarlierRun(running=True)
        folder = last_run(self._outputs, spec.identity) if spec.config["reuse"] else None
        if folder is not None and (epoch := resumed_for(folder, spec)) is not None:
            return EarlierRun(read_run(folder), resumes_after=epoch)
        if run is None and spec.code.modules and (run := self._with_other_code.get(identity(spec.config))):
            why = f"the code has changed: {'; '.join(changed_files(run.code, spec.code.checksums))}"
        return EarlierRun(run, why)

    @functools.cached_property
    def _with_other_code(self) -> dict[str, Run]:
        """The newest run with own code for each configuration, by what its identity would be without the code."""
        runs = [run for run in reversed(self._completed) if run.code]
        found: dict[str, Run] = {}
        for run in runs:
            with contextlib.suppress(KeyError, TypeError, AttributeError):  # a damaged configuration
                found[identity(run.config)] = run
        return found


def _labels(jobs: Sequence[list[str]]) -> list[str]:
    """Label each job by the overrides that it does not share with all others.

    A single job is labelled by all of them.
    """
    common = set(jobs[0]).intersection(*jobs) if len(jobs) > 1 else set()
    return [" ".join(word for word in words if word not in common) or "the defaults" for words in jobs]
