"""Starts jobs of a sweep a second time, as SLURM does, with a launcher that runs each job in a process of its own.

The command of a job is that of submitit's local launcher: `python -m submitit.core._submit FOLDER`, with the number of
the job in its environment. It is started again for a completed job, for a killed job with a checkpoint, and for a job
that is still running.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import sys
from pathlib import Path

from studies.reliability.commands import Command, parents_of_all, wait_until
from studies.reliability.folders import CHECKPOINT, RECORD, record_of, run_folders
from studies.reliability.scenarios import sweeps
from studies.reliability.trial import KillTest, Trial

NAME = "retries"
LAUNCHER = ("launcher=submitit_local",)
JOBS = (
    "data=digits_graph",
    "model=gcn",
    "model.hidden=[8]",
    "rule=dfa",
    "epochs=400",
    "checkpoint_every=10",
    "threads=1",
)
DEVICES = {1: "device=opu_sim", 2: "device=cpu,opu_sim"}  # by the number of jobs
SUBMITIT = (
    ".sweep/submitit"  # inside the sweep's folder: a folder for each job, whose name is the number of the job
)
PATIENCE = 60.0


def is_possible() -> bool:
    return importlib.util.find_spec("submitit") is not None


def round_of(test: KillTest, number: int) -> None:
    """Start one kind of job twice; the kinds take turns."""
    kind = KINDS[number % len(KINDS)]
    # In a sweep of one job no other job can hide what the sweep makes of a killed one.
    count = test.rng.choice((1, 2)) if kind is of_a_running_job else 2
    jobs = (*JOBS, DEVICES[count])
    undisturbed = sweeps.undisturbed_sweep(test, f"{NAME}_{count}", jobs)
    with test.trial(NAME) as trial:
        folder = trial.outputs / "sweep"
        command = sweeps.sweep(trial, jobs, LAUNCHER, folder)
        kind(trial, command, folder)
        sweeps.complete_sweep(trial, jobs, LAUNCHER, folder)
        sweeps.check_outcome(trial, undisturbed)


def of_a_completed_job(trial: Trial, sweep: Command, folder: Path) -> None:
    """Start completed jobs again, and kill these second starts at random moments: nothing may change."""
    sweeps.end_of_sweep(trial, sweep)
    for number in trial.rng.sample(_numbers(folder), 2):
        again = start_again(trial, folder, number)
        trial.kill(again, "second start of a completed job", trial.rng.uniform(0.0, 2.5))
        trial.end(again)
        trial.check_runs()
    trial.end(start_again(trial, folder, _numbers(folder)[0]))
    trial.check_runs()


def of_a_killed_job(trial: Trial, sweep: Command, folder: Path) -> None:
    """Kill a job that has a checkpoint, or the whole sweep with it, and start it again soon after."""
    wait_until(lambda: _jobs_with(CHECKPOINT, trial) or not sweep.running, PATIENCE)
    number = trial.rng.choice(_jobs_with(CHECKPOINT, trial) or _numbers(folder))
    trial.pause(trial.rng.uniform(0.0, 0.6))
    if trial.rng.random() < 0.5:
        if sweep.kill("all"):
            trial.count_kill("job with a checkpoint and its sweep")
    elif kill_task(number):
        trial.count_kill("job with a checkpoint")
    trial.pause(trial.rng.uniform(0.0, 0.5))
    again = start_again(trial, folder, number)
    if trial.rng.random() < 0.4:
        trial.kill(again, "second start of a killed job", trial.rng.uniform(0.5, 2.5))
    _end(trial, sweep, again)


def of_a_running_job(trial: Trial, sweep: Command, folder: Path) -> None:
    """Start a job again while it is starting or running, and kill the first or the second start."""
    wait_until(lambda: _numbers(folder) or not sweep.running, PATIENCE)
    if trial.rng.random() < 0.5:  # Otherwise both begin at the same time.
        wait_until(lambda: _jobs_with(RECORD, trial) or not sweep.running, PATIENCE)
    number = trial.rng.choice(_jobs_with(RECORD, trial) or _numbers(folder))
    again = start_again(trial, folder, number)
    trial.pause(trial.rng.uniform(0.3, 2.5))
    if trial.rng.random() < 0.5 and kill_task(number):
        trial.count_kill("first start of a running job")
    else:
        trial.kill(again, "second start of a running job", 0.0)
    _end(trial, sweep, again)


KINDS = (of_a_completed_job, of_a_killed_job, of_a_running_job)


def start_again(trial: Trial, folder: Path, number: str) -> Command:
    """Start the job of this number again, with the command and the environment that submitit gave it."""
    program = (sys.executable, "-u", "-m", "submitit.core._submit", str(folder / SUBMITIT / "%j"))
    environment = {
        "SUBMITIT_EXECUTOR": "local",
        "SUBMITIT_LOCAL_JOB_ID": number,
        "SUBMITIT_LOCAL_NTASKS": "1",
        "SUBMITIT_LOCAL_JOB_NUM_NODES": "1",
        "SUBMITIT_LOCAL_NODEID": "0",
        "SUBMITIT_LOCAL_LOCALID": "0",
        "SUBMITIT_LOCAL_GLOBALID": "0",
        "OMP_NUM_THREADS": "1",  # as the sweep sets it for this launcher
    }
    return trial.start_program(program, "job again", environment)


def kill_task(number: str) -> bool:
    """Kill the process that runs a job, and tell whether there was one.

    The number of a job is the process id of its controller in submitit, which is the parent of that process.
    """
    tasks = [pid for pid, parent in parents_of_all().items() if parent == int(number)]
    for pid in tasks:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return bool(tasks)


def _numbers(folder: Path) -> list[str]:
    """List the numbers of the jobs that were submitted so far."""
    return sorted(path.parent.name for path in (folder / SUBMITIT).glob("*/*_submitted.pkl"))


def _jobs_with(name: str, trial: Trial) -> list[str]:
    """List the numbers of the running jobs whose folders hold the file `name`."""
    parents = parents_of_all()
    tasks = [
        record_of(run)["provenance"]["pid"] for run in run_folders(trial.outputs) if (run / name).exists()
    ]
    return [str(parents[task]) for task in tasks if task in parents]


def _end(trial: Trial, sweep: Command, again: Command) -> None:
    """Wait for the sweep and for the second start of its job, and look at the runs."""
    again.wait()
    sweep.wait()
    trial.end(again)
    sweeps.end_of_sweep(trial, sweep)
