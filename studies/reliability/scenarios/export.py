"""Kills `dfa export` at random moments: what it exports has to be whole or absent, and the records stay as they are."""

from __future__ import annotations

import importlib.util
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from studies.reliability.folders import METRICS, tree_digest
from studies.reliability.report import LOST
from studies.reliability.scenarios.clean import completed_run, copy
from studies.reliability.trial import KillTest, Trial

NAME = "export"
# The curves are made longer than those of the run, so that the writing takes some time.
RUNS, EPOCHS = 12, 400
MLFLOW_RUNS = 3  # MLflow takes a second or more for each.
KINDS = {
    "csv": ("--to", "csv", "--out", "exported/runs.csv"),
    "curves": ("--to", "csv", "--curves", "--out", "exported/curves.csv"),
    "tensorboard": ("--to", "tensorboard", "--out", "exported"),
    "mlflow": ("--to", "mlflow", "--out", "exported"),
}
MODULES = {"tensorboard": "tensorboard", "mlflow": "mlflow"}


def kinds() -> list[str]:
    """List the kinds of export that this environment has the packages for."""
    return [kind for kind in KINDS if kind not in MODULES or importlib.util.find_spec(MODULES[kind])]


def round_of(test: KillTest, number: int) -> None:
    """Kill one kind of export, and then export again; the kinds take turns."""
    kind = kinds()[number % len(kinds())]
    made = test.make_once("runs_to_export", lambda folder: _make_runs(test, folder))
    runs = sorted(made.iterdir())[: MLFLOW_RUNS if kind == "mlflow" else RUNS]
    expected = content(kind, _undisturbed(test, kind, runs))
    with test.trial(NAME) as trial:
        exported = trial.folder / "exported"
        exported.mkdir()
        before = tree_digest(made)
        latest = 1.05 * test.durations[f"export_{kind}"]
        for _ in range(2):
            command = trial.start("export", *runs, *KINDS[kind], "--force")
            trial.kill(command, kind, trial.rng.uniform(0.25 * latest, latest))
            if trial.end(command) == 0:
                check(trial, kind, expected, exported)
            else:
                check_killed(trial, kind, expected, exported)
        trial.end(trial.start("export", *runs, *KINDS[kind], "--force"))
        check(trial, kind, expected, exported)
        if tree_digest(made) != before:
            trial.add_finding(LOST, "dfa export has changed the records")


def check(trial: Trial, kind: str, expected: Content, exported: Path) -> None:
    """Check that all that an export wrote is there."""
    there = content(kind, exported)
    if different := sorted(name for name in expected | there if expected.get(name) != there.get(name)):
        trial.add_finding(LOST, f"{kind}: not as an undisturbed export: {', '.join(different[:4])}")


def check_killed(trial: Trial, kind: str, expected: Content, exported: Path) -> None:
    """Check that each thing that a killed export has left is whole."""
    there = content(kind, exported)
    if cut := sorted(name for name in there if there[name] != expected.get(name)):
        trial.add_finding(LOST, f"{kind}: a killed export has left, not whole: {', '.join(cut[:4])}")


Content = dict[str, object]  # what was exported, by the name of a file or of a run


def content(kind: str, exported: Path) -> Content:
    """Read what was exported, without what is different each time."""
    if kind == "mlflow":
        return _mlflow_runs(exported / "mlflow.db")
    if kind == "tensorboard":
        return {
            path.parent.name: _events(path.read_bytes()) for path in sorted(exported.glob("*/events.out.*"))
        }
    return {path.name: path.read_bytes() for path in exported.glob("*.csv")}


def _mlflow_runs(database: Path) -> Content:
    """Read the finished runs of an MLflow store: parameters, tags and metrics. The others are not whole yet."""
    if not database.exists():
        return {}
    with closing(sqlite3.connect(database)) as store:
        if not store.execute("select 1 from sqlite_master where name = 'runs'").fetchall():
            return {}
        runs = store.execute(
            "select run_uuid, name from runs where status = 'FINISHED' and lifecycle_stage = 'active'"
        ).fetchall()
        return {
            name: [
                sorted(store.execute("select key, value from params where run_uuid = ?", (run,))),
                sorted(store.execute("select key, value, step from metrics where run_uuid = ?", (run,))),
            ]
            for run, name in runs
        }


def _events(data: bytes) -> list[bytes]:
    """Split a file of TensorBoard into its events: each has a length of 8 bytes, a checksum, the event, a checksum.

    The first event holds the time of the export and is left out.
    """
    events, place = [], 0
    while place < len(data):
        end = place + 12 + int.from_bytes(data[place : place + 8], "little") + 4
        events.append(data[place:end])
        place = end
    return events[1:]


def _make_runs(test: KillTest, folder: Path) -> None:
    """Copy a completed run several times, with longer curves."""
    made = completed_run(test)
    for number in range(RUNS):
        run = copy(made, folder / f"run{number}", number, "completed")
        heading, first, *_ = (run / METRICS).read_text("utf-8").splitlines()
        rest = first.partition(",")[2]
        lines = [heading, *(f"{epoch},{rest}" for epoch in range(1, EPOCHS + 1))]
        (run / METRICS).write_text("\n".join(lines) + "\n", "utf-8")


def _undisturbed(test: KillTest, kind: str, runs: Sequence[Path]) -> Path:
    """Return the folder with an export that nothing disturbs."""
    *words, target = KINDS[kind]
    file = "" if kind in MODULES else Path(target).name
    return test.run_undisturbed_once(
        f"export_{kind}", lambda folder: ("export", *runs, *words, folder / file)
    )
