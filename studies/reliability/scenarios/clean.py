"""Kills `dfa clean` while it deletes the folders of killed and interrupted runs."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

from dfa_cli.machine.locks import locked
from studies.reliability.folders import RECORD, file_count, half_removed, record_of, tree_digest
from studies.reliability.report import LOST
from studies.reliability.trial import ALWAYS, KillTest, Trial

NAME = "clean"
WORDS = ("data=digits", "model.hidden=[8]", "rule=dfa", "device=opu_sim", "epochs=20", *ALWAYS)
UNFINISHED, COMPLETED = 6, 3
# Many files and large ones, so that the deleting takes long enough to be hit.
FILES, LARGE_BYTES = 1200, 8_000_000


def round_of(test: KillTest) -> None:
    """Kill `dfa clean` while it deletes; then the next one has to delete the rest, and nothing else."""
    if NAME not in test.durations:
        with test.trial(f"undisturbed_{NAME}") as trial:
            copies_of_a_killed_run(trial)
            began = time.monotonic()
            trial.end(trial.start("clean", trial.outputs, "--yes"))
            test.durations[NAME] = time.monotonic() - began
    duration = test.durations[NAME]
    with test.trial(NAME) as trial:
        unfinished, finished = copies_of_a_killed_run(trial)
        running = copy(completed_run(test), trial.outputs / "running", 99, "running")
        before = {folder: tree_digest(folder) for folder in finished}
        count = file_count(unfinished[0])
        # This process is the owner of a run that is running.
        with locked(running / ".lock"):
            for _ in range(4):
                command = trial.start("clean", trial.outputs, "--yes")
                was_killed = trial.kill(command, "clean", trial.rng.uniform(0.4 * duration, duration))
                trial.end(command)
                trial.check_runs(removable=True)
                trial.report.left["a half deleted folder"] += len(half_removed(trial.outputs))
                for folder in unfinished:
                    if folder.exists() and file_count(folder) - (folder / ".lock").exists() != count:
                        trial.add_finding(LOST, f"{folder.name} is half deleted under its own name")
                if not was_killed or trial.rng.random() < 0.6:
                    break
            trial.end(trial.start("clean", trial.outputs, "--yes"))
            trial.check_runs(removable=True)
            if not (running / RECORD).exists():
                trial.add_finding(LOST, f"{running.name}: a running run was deleted")
        if left := [*half_removed(trial.outputs), *(folder for folder in unfinished if folder.exists())]:
            trial.add_finding(LOST, f"the last dfa clean has left {', '.join(map(str, left))}")
        if before != {folder: tree_digest(folder) for folder in finished}:
            trial.add_finding(LOST, "dfa clean has changed completed runs")


def completed_run(test: KillTest) -> Path:
    """Return the folder of a completed run."""
    return test.run_undisturbed_once(
        "completed_run", lambda folder: ("train", *WORDS, f"hydra.run.dir={folder}")
    )


def copies_of_a_killed_run(trial: Trial) -> tuple[list[Path], list[Path]]:
    """Fill the output folder with runs.

    Returns the folders of the killed and interrupted ones, which have many and large files, and the folders of the
    completed ones.
    """
    made = completed_run(trial.test)
    unfinished = [
        copy(made, trial.outputs / f"unfinished{number}", number, ("running", "interrupted")[number % 2])
        for number in range(UNFINISHED)
    ]
    for folder in unfinished:
        (folder / "checkpoint.safetensors").write_bytes(_large_checkpoint())
        for number in range(FILES):
            (folder / ".hydra" / f"{number}.yaml").touch()
    finished = [
        copy(made, trial.outputs / f"completed{number}", 50 + number, "completed")
        for number in range(COMPLETED)
    ]
    trial.check_runs()
    return unfinished, finished


def copy(run: Path, folder: Path, number: int, status: str) -> Path:
    """Copy a run to `folder`, with another id and status. The process of a running one has ended."""
    shutil.copytree(run, folder)
    record = record_of(folder) | {"id": f"{number:08x}", "status": status}
    (folder / RECORD).write_text(json.dumps(record), "utf-8")
    return folder


def _large_checkpoint() -> bytes:
    """Make the content of a checkpoint of epoch 1 with one large tensor of zeros."""
    tensor = {"dtype": "U8", "shape": [LARGE_BYTES], "data_offsets": [0, LARGE_BYTES]}
    header = json.dumps({"__metadata__": {"epoch": "1", "format": "1"}, "large": tensor}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(LARGE_BYTES)
