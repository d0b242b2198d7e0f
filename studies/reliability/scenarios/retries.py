"""Starts jobs of a sweep a second time, as SLURM does, with a launcher that runs each job in a process of its own.

The command of a job is that of submitit's local launcher: `python -m submitit.core._submit FOLDER`, with the number of
the job in its environment. It is started again for a completed job, for a killed job with a checkpoint, and for a job
that is still running.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from pathlib import Path

from studies.reliability.commands import Command, parents_of_all, wait_until
from studies.reliability.folders import CHECKPOINT, record_of, run_folders
from studies.reliability.scenarios import sweeps
from studies.reliability.trial import KillTest, Trial

NAME = "retries"
LAUNCHER = ("launcher=submitit_local",)
JOBS = (
    "data=digits_graph",
    "model=gcn",
    "model.hidden=[8]",
    "rule=dfa",
    "device=cpu,opu_sim",
    "epochs=250",
    "checkpoint_every=10",
    "threads=1",
)
SUBMITIT = (
    ".sweep/submitit"  # inside the sweep's folder: a folder for each job, whose name is the number of the job
)
PATIENCE = 60.0


def is_possible() -> bool:
    return importlib.util.find_spec("submitit") is not None


def round_of(test: KillTest, number: int) -> None:
    """Start one kind of job twice; the kinds take turns."""
    undisturbed = sweeps.undisturbed_sweep(test, NAME, JOBS)
    with test.trial(NAME) as trial:
        folder = trial.outputs / "sweep"
        command = sweeps.sweep(trial, JOBS, LAUNCHER, folder)
        KINDS[number % len(KINDS)](trial, command, folder)
        sweeps.complete_sweep(trial, JOBS, LAUNCHER, folder)
        sweeps.check_outcome(trial, undisturbed)


def of_a_completed_job(trial: Trial, sweep: Command, folder: Path) -> None:
    """Start a completed job again, and kill this second start at a random moment: nothing may change."""
    sweeps.end_of_sweep(trial, sweep)
    for number in trial.rng.sample(sorted(path.name for path in (folder / SUBMITIT).glob("[0-9]*")), 2):
        again = start_again(trial, folder, number)
        trial.kill(again, "second start of a completed job", trial.rng.uniform(0.0, 3.0))
        trial.end(again)
        trial.look()
    trial.end(start_again(trial, folder, number))
    trial.look()


def of_a_killed_job(trial: Trial, sweep: Command, folder: Path) -> None:
    """Kill a job that has a checkpoint, or the whole sweep with it, and start it again at once."""
    run = _training(trial, sweep)
    if run is None:
        sweeps.end_of_sweep(trial, sweep)
        return
    number = _number_of(run)
    trial.pause(trial.rng.uniform(0.0, 0.6))
    if trial.rng.random() < 0.5:
        if sweep.kill("all"):
            trial.count_kill("job with a checkpoint and its sweep")
    elif kill_process_of(run):
        trial.count_kill("job with a checkpoint")
    trial.pause(trial.rng.uniform(0.0, 0.5))
    again = start_again(trial, folder, number)
    if trial.rng.random() < 0.4:
        trial.kill(again, "second start of a killed job", trial.rng.uniform(0.5, 3.0))
    _end(trial, sweep, again)


def of_a_running_job(trial: Trial, sweep: Command, folder: Path) -> None:
    """Start a job again while it is running, and kill the first or the second start."""
    run = _training(trial, sweep)
    if run is None:
        sweeps.end_of_sweep(trial, sweep)
        return
    again = start_again(trial, folder, _number_of(run))
    if trial.rng.random() < 0.6:
        trial.pause(trial.rng.uniform(0.0, 2.0))
        if kill_process_of(run):
            trial.count_kill("first start of a running job")
    else:
        trial.kill(again, "second start of a running job", trial.rng.uniform(0.3, 2.5))
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


def kill_process_of(run: Path) -> bool:
    """Kill the process that trains a run, and tell whether there was one."""
    record = record_of(run)
    if record["status"] != "running":
        return False
    try:
        os.kill(record["provenance"]["pid"], signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _training(trial: Trial, sweep: Command) -> Path | None:
    """Wait until a job of the sweep has saved a checkpoint, and return its folder; `None` if the sweep ends before."""
    found: list[Path] = []

    def trains() -> bool:
        found[:] = [run for run in run_folders(trial.outputs) if (run / CHECKPOINT).exists()]
        return bool(found) or not sweep.running

    wait_until(trains, PATIENCE)
    return trial.rng.choice(found) if found else None


def _number_of(run: Path) -> str:
    """Return the number of the job that trains a run: the parent of its process has it as process id."""
    return str(parents_of_all()[record_of(run)["provenance"]["pid"]])


def _end(trial: Trial, sweep: Command, again: Command) -> None:
    """Wait for the sweep and for the second start of its job, and look at the runs."""
    again.wait()
    sweep.wait()
    trial.end(again)
    sweeps.end_of_sweep(trial, sweep)
