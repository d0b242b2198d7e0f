"""Starts two commands in one folder at the same time, and kills one of them at a random moment."""

from __future__ import annotations

import os
from pathlib import Path

from studies.reliability.commands import Command
from studies.reliability.folders import half_removed, read_state
from studies.reliability.report import DOUBLED, FAILED, LOST
from studies.reliability.scenarios import sweeps
from studies.reliability.scenarios.clean import copies_of_a_killed_run
from studies.reliability.trial import (
    ALWAYS,
    IN_USE,
    KillTest,
    Trial,
    complete,
    kill_training,
    note_what_is_left,
)

NAME = "pairs"
WORDS = (
    "data=digits_graph",
    "model=gcn",
    "model.hidden=[8]",
    "rule=dfa",
    "device=opu_sim",
    "epochs=150",
    "checkpoint_every=5",
    *ALWAYS,
)
SWEEP = (*WORDS[:3], "rule=bp,dfa", "device=cpu", "epochs=150", "checkpoint_every=25", "threads=1")
NOT_EMPTY = "is not empty"
IS_COMPLETED = "is completed"  # The other one was so quick that it had ended.
GONE = r"no run|is not there|cannot be read"  # The other one has deleted the run.


def round_of(test: KillTest, number: int) -> None:
    """Run one kind of pair; the kinds take turns."""
    KINDS[number % len(KINDS)](test)


def two_trains(test: KillTest) -> None:
    """Two `dfa train` in one new folder: one is refused, and the folder of the other one is whole."""
    undisturbed = _undisturbed(test)
    with test.trial(NAME) as trial:
        folder = trial.outputs / "run"
        pair = [trial.start("train", *WORDS, f"hydra.run.dir={folder}") for _ in range(2)]
        was_killed = kill_training(trial, pair, "two train", folder, early=0.6)
        codes = [trial.end(command, [IN_USE, NOT_EMPTY]) for command in pair]
        _check_codes(trial, codes)
        for one, other in (pair, pair[::-1]):
            if one.process.returncode == 2 and IN_USE in one.output:
                _check_holder(trial, one, other)
        trial.check_runs()
        if was_killed:
            note_what_is_left(trial, folder)
        trial.compare(undisturbed, complete(trial, WORDS, folder))


def two_resumes(test: KillTest) -> None:
    """Two `dfa resume` of one run: one is refused, and the run is completed once."""
    undisturbed = _undisturbed(test)
    with test.trial(NAME) as trial:
        folder = _killed_run(trial)
        pair = [trial.start("resume", folder) for _ in range(2)]
        kill_training(trial, pair, "two resume", folder, early=0.6)
        codes = [trial.end(command, [IN_USE, IS_COMPLETED]) for command in pair]
        _check_codes(trial, codes)
        trial.check_runs()
        trial.compare(undisturbed, complete(trial, WORDS, folder))


def resume_and_clean(test: KillTest) -> None:
    """`dfa resume` and `dfa clean` of one run: the run is resumed, or all of it is deleted."""
    undisturbed = _undisturbed(test)
    with test.trial(NAME) as trial:
        folder = _killed_run(trial)
        resume = trial.start("resume", folder)
        trial.pause(trial.rng.uniform(0.0, 0.5))  # Both take the lock of the folder soon after their start.
        clean = trial.start("clean", trial.outputs, "--yes")
        if trial.rng.random() < 0.7:
            trial.kill([clean, resume], "resume and clean", trial.rng.uniform(0.0, 0.4))
        else:
            kill_training(trial, resume, "resume and clean", folder)
        trial.end(clean, [rf"left .*({IN_USE}|it is )"], code_of_refusal=1)
        trial.end(resume, [IN_USE, IS_COMPLETED, GONE])
        trial.check_runs(removable=True)
        if read_state(folder) is not None:
            trial.compare(undisturbed, complete(trial, WORDS, folder))
        elif folder.exists():
            trial.add_finding(LOST, f"{folder.name} is half deleted: {sorted(os.listdir(folder))}")
        trial.end(trial.start("clean", trial.outputs, "--yes"))
        if left := half_removed(trial.outputs):
            trial.add_finding(LOST, f"dfa clean has left {left}")


def two_cleans(test: KillTest) -> None:
    """Two `dfa clean` of the same runs: all unfinished runs are deleted, and neither of the two stumbles."""
    with test.trial(NAME) as trial:
        unfinished, kept = copies_of_a_killed_run(trial)
        pair = []
        for _ in range(2):
            pair.append(trial.start("clean", trial.outputs, "--yes"))
            trial.pause(trial.rng.uniform(0.0, 0.1))
        trial.kill(pair, "two clean", trial.rng.uniform(0.1, 0.5))
        for command in pair:
            trial.end(command, [rf"left .*({IN_USE}|it is )"], code_of_refusal=1)
        trial.check_runs(removable=True)
        trial.end(trial.start("clean", trial.outputs, "--yes"))
        trial.check_runs(removable=True)
        if left := [*half_removed(trial.outputs), *(folder for folder in unfinished if folder.exists())]:
            trial.add_finding(LOST, f"dfa clean has left {left}")
        if gone := [folder for folder in kept if not folder.exists()]:
            trial.add_finding(LOST, f"dfa clean has deleted {gone}")


def two_sweeps(test: KillTest) -> None:
    """Two sweeps in one folder: one is refused, and each configuration is completed once."""
    undisturbed = sweeps.undisturbed_sweep(test, "pair_of_sweeps", SWEEP)
    with test.trial(NAME) as trial:
        folder = trial.outputs / "sweep"
        pair = [sweeps.sweep(trial, SWEEP, folder=folder) for _ in range(2)]
        target = trial.rng.choice(sweeps.TARGETS)
        latest = sweeps.LATEST_KILL * test.durations["pair_of_sweeps"]
        trial.kill(pair, "two sweep", trial.rng.uniform(0.3, latest), target=target)
        for command in pair:
            command.wait()
        codes = [sweeps.end_of_sweep(trial, command, [IN_USE]) for command in pair]
        _check_codes(trial, codes)
        if 0 not in codes:
            sweeps.complete_sweep(trial, SWEEP, folder=folder)
        sweeps.check_outcome(trial, undisturbed)


KINDS = (two_trains, two_resumes, resume_and_clean, two_sweeps, two_cleans)


def _undisturbed(test: KillTest) -> Path:
    """Return the folder of the run that every pair of `train` or `resume` has to equal."""
    return test.run_undisturbed_once("pair", lambda folder: ("train", *WORDS, f"hydra.run.dir={folder}"))


def _killed_run(trial: Trial) -> Path:
    """Train until the run has a checkpoint, kill it, and return its folder. Such a kill counts, too."""
    for attempt in range(5):
        folder = trial.outputs / f"run{attempt}"
        command = trial.start("train", *WORDS, f"hydra.run.dir={folder}")
        kill_training(trial, command, "train before such a pair", folder, window=0.3, early=0.0)
        trial.end(command)
        trial.check_runs()
        state = read_state(folder)
        if state is not None and state.checkpoint is not None:
            break
    return folder


def _check_codes(trial: Trial, codes: list[int]) -> None:
    """Check that one of a pair was refused, unless the other one was killed."""
    if codes.count(2) == 2:
        trial.add_finding(FAILED, "both of a pair were refused")
    if codes.count(0) == 2:
        trial.add_finding(DOUBLED, "both of a pair succeeded")


def _check_holder(trial: Trial, refused: Command, other: Command) -> None:
    """Check that the sentence of the refused one names the process of the other one."""
    if f"process {other.process.pid} " not in refused.output:
        trial.add_finding(FAILED, f"the refusal does not name process {other.process.pid}: {refused.output}")
