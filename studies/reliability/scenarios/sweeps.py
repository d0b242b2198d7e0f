"""Kills sweeps, gives the same command again each time, and compares the outcome with that of an undisturbed sweep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path

from dfa_cli.comparison.tables import compare_table
from studies.reliability.commands import Command
from studies.reliability.folders import record_of, run_folders
from studies.reliability.report import DIFFERENT, DOUBLED, FAILED, LOST
from studies.reliability.trial import KillTest, Trial

NAME = "sweep"
# The processes that are killed. "alone": the sweep alone, so that its worker is left behind. "jobs": the worker, which
# the sweep then has to replace. "all": both and every process that they have started, as in a power cut.
TARGETS = ("alone", "jobs", "all")
JOBS = (
    "data=digits_graph",
    "model=gcn",
    "model.hidden=[8]",
    "rule=bp,dfa,shallow",
    "device=cpu,opu_sim",
    "seed=0,1",
    "epochs=150",
    "checkpoint_every=25",
    "threads=1",
)
LATEST_KILL = 0.7  # the latest moment of a kill, as a fraction of the time of the undisturbed sweep
# A sweep gives up a job whose process was killed twice. The same command then runs that job again.
GIVEN_UP = "failed: "
NOT_COMPLETED = ("failed: ", "interrupted: ")
MOST_COMMANDS = 12


def round_of(test: KillTest) -> None:
    """Give the command of one sweep until it succeeds, and kill it at random moments."""
    undisturbed = undisturbed_sweep(test, NAME, JOBS, test.extra)
    with test.trial(NAME) as trial:
        for _ in range(MOST_COMMANDS):
            command = sweep(trial, JOBS, test.extra)
            target = trial.rng.choice(TARGETS)
            latest = LATEST_KILL * test.durations[NAME]
            if test.may_kill:
                trial.kill(command, target, trial.rng.uniform(0.0, latest), target=target)
            if end_of_sweep(trial, command) == 0:
                break
        check_outcome(trial, undisturbed)


def undisturbed_sweep(test: KillTest, name: str, jobs: tuple[str, ...], extra: tuple[str, ...] = ()) -> Path:
    """Return the output folder of a sweep that nothing disturbs. It is made at the first call with this name."""
    return test.run_undisturbed_once(name, lambda folder: ("sweep", f"outputs={folder}", *jobs, *extra))


def sweep(
    trial: Trial, jobs: tuple[str, ...], extra: tuple[str, ...] = (), folder: Path | None = None
) -> Command:
    """Start the sweep of a round. `folder`: the sweep's own folder, if the command names it."""
    named = [] if folder is None else [f"hydra.sweep.dir={folder}"]
    return trial.start("sweep", f"outputs={trial.outputs}", *named, *jobs, *extra)


def end_of_sweep(trial: Trial, command: Command, refusals: Collection[str] = ()) -> int:
    """Wait for the end of a sweep, check how it ended, and look at its runs.

    `refusals`: sentences with which it may be refused.
    """
    gave_up = command.wait() == 1
    code = trial.end(command, [GIVEN_UP], code_of_refusal=1) if gave_up else trial.end(command, refusals)
    for line in command.output.splitlines():
        if line.startswith(NOT_COMPLETED) and "was killed" not in line:
            trial.add_finding(FAILED, f"the sweep says: {line}")
    trial.check_runs()
    return code


def complete_sweep(
    trial: Trial, jobs: tuple[str, ...], extra: tuple[str, ...] = (), folder: Path | None = None
) -> None:
    """Give the command of a sweep until it succeeds."""
    for _ in range(MOST_COMMANDS):
        if end_of_sweep(trial, sweep(trial, jobs, extra, folder)) == 0:
            return


def check_outcome(trial: Trial, undisturbed: Path) -> None:
    """Compare the runs of the round with those of the undisturbed sweep: each is completed once, and all are equal."""
    trial.report.sweeps += 1
    expected = completed(undisturbed)
    there = completed(trial.outputs)
    count = Counter(identity for identity, _ in there)
    if twice := [identity for identity, number in count.items() if number > 1]:
        trial.add_finding(DOUBLED, f"completed more than once: {', '.join(twice)}")
    if missing := {identity for identity, _ in expected} - set(count):
        trial.add_finding(LOST, f"not completed: {', '.join(missing)}")
    for identity, folder in there:
        if identity not in dict(expected):
            trial.add_finding(DOUBLED, f"{folder.name}: the undisturbed sweep has no such configuration")
        else:
            trial.compare(dict(expected)[identity], folder)
    if table(undisturbed) != table(trial.outputs):
        trial.add_finding(DIFFERENT, f"the table differs from that of {undisturbed}")


def completed(outputs: Path) -> list[tuple[str, Path]]:
    """List the identities and the folders of the completed runs."""
    records = [(record_of(folder), folder) for folder in run_folders(outputs)]
    return [(record["identity"], folder) for record, folder in records if record["status"] == "completed"]


def table(outputs: Path) -> str:
    return compare_table([outputs], format="csv", show=["mean", "std", "n", "ci", "best", "frames"])
