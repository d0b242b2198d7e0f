"""Tests that a sweep survives being killed: kills it with SIGKILL at random moments and starts it again each time.

The results must be those of a sweep that was not disturbed: nothing lost, nothing run twice, no number changed.
`scripts/kill_test` runs the test for long; the test suite runs a short one.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dfa_cli.comparison.tables import compare_table
from dfa_cli.records.find import find
from dfa_cli.records.run import Run

# The processes that are killed. "sweep": the sweep alone, so that its worker is left behind. "jobs": the worker, which
# the sweep then has to replace. "all": both and every process that they have started, as in a power cut.
TARGETS = ("sweep", "jobs", "all")
JOBS = (
    "data=digits_graph",
    "model=gcn",
    "model.hidden=[8]",
    "rule=bp,dfa,shallow",
    "device=cpu,opu_sim",
)
LATEST_KILL = 0.6  # the latest moment of a kill, as a fraction of the time of the undisturbed sweep
NOT_REPEATABLE = ("seconds",)


@dataclass
class Report:
    """Counts of what happened: kills by target, commands that were needed, records by status."""

    kills: Counter[str] = field(default_factory=Counter)
    commands: int = 0
    rounds: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    resumed: int = 0
    jobs: int = 0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kills = ", ".join(f"{count} of {name}" for name, count in sorted(self.kills.items()))
        records = ", ".join(f"{count} {name}" for name, count in sorted(self.statuses.items()))
        return (
            f"{sum(self.kills.values())} kills ({kills}), {self.commands} commands, {self.rounds} sweeps of "
            f"{self.jobs} jobs; records: {records}; {self.resumed} resumed from a checkpoint; "
            f"{'; '.join(self.wrong) or 'nothing lost, nothing twice, every table equal'}"
        )


def study(
    root: Path, moments: int, seed: int, seeds: int = 6, epochs: int = 200, extra: tuple[str, ...] = ()
) -> Report:
    """Kill sweeps `moments` times, over as many sweeps as that takes, and compare each with an undisturbed sweep."""
    rng = random.Random(seed)
    words = (*JOBS, f"seed=range({seeds})", f"epochs={epochs}", f"checkpoint_every={epochs // 4}", *extra)
    report = Report()
    undisturbed = root / "undisturbed"
    start = time.monotonic()
    code = run(root, undisturbed, words).wait()
    duration = time.monotonic() - start
    if code != 0:
        raise RuntimeError(f"The undisturbed sweep ended with exit code {code}: {log(root)}")
    report.jobs = len(completed(undisturbed))

    while sum(report.kills.values()) < moments:
        report.rounds += 1
        outputs = root / f"disturbed_{report.rounds}"
        known: set[str] = set()
        while True:
            process = run(root, outputs, words)
            report.commands += 1
            if sum(report.kills.values()) < moments:
                time.sleep(rng.uniform(0.0, LATEST_KILL * duration))
                if process.poll() is None:
                    target = TARGETS[sum(report.kills.values()) % len(TARGETS)]
                    if kill(process, target):
                        report.kills[target] += 1
            code = process.wait(timeout=600)
            now = {run.id for run in completed(outputs)}
            if lost := known - now:
                report.wrong.append(f"lost {lost} in round {report.rounds}")
            known = now
            if code == 0:
                break
            # A sweep gives up a job whose worker was killed twice. The same command then runs that job again.
            if code != -signal.SIGKILL and b"was killed" not in (root / "log").read_bytes():
                raise RuntimeError(f"The sweep ended with exit code {code}: {log(root)}")
        report.wrong += differences(undisturbed, outputs)
        runs = find([outputs]).runs
        report.statuses.update(run.status for run in runs)
        report.resumed += sum(bool(run.record.get("resumed")) for run in runs)
    return report


def run(root: Path, outputs: Path, words: tuple[str, ...]) -> subprocess.Popen[bytes]:
    with open(root / "log", "ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "dfa_cli.cli", "sweep", f"outputs={outputs}", *words],
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )


def log(root: Path) -> str:
    return (root / "log").read_text(errors="replace")[-3000:]


def kill(process: subprocess.Popen[bytes], target: str) -> bool:
    """Kill the processes of a target, and tell whether there were any."""
    descendants = list(descendants_of(process.pid))
    victims = {"sweep": [process.pid], "jobs": descendants[:1], "all": [process.pid, *descendants]}[target]
    for pid in victims:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return bool(victims)


def descendants_of(pid: int) -> Iterator[int]:
    """Yield all processes that `pid` has started, directly or not."""
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True
    ).stdout
    parents = {int(child): int(parent) for child, parent in map(str.split, listed.splitlines())}
    waiting = [pid]
    while waiting:
        above = waiting.pop(0)
        for child in sorted(child for child, parent in parents.items() if parent == above):
            yield child
            waiting.append(child)


def completed(outputs: Path) -> list[Run]:
    return [run for run in find([outputs]).runs if run.status == "completed"] if outputs.is_dir() else []


def differences(undisturbed: Path, disturbed: Path) -> list[str]:
    """List the differences between the results of the two sweeps. Times are not compared."""
    wrong = []
    expected = {run.identity: run for run in completed(undisturbed)}
    there = completed(disturbed)
    count = Counter(run.identity for run in there)
    if twice := [name for name, number in count.items() if number > 1]:
        wrong.append(f"completed more than once: {twice}")
    if set(count) != set(expected):
        wrong.append(f"completed {len(set(count))} configurations of {len(expected)}")
    for run in there:
        if measured(run) != measured(expected[run.identity]):
            wrong.append(f"run {run.id} has other metrics")
        if weights(run) != weights(expected[run.identity]):
            wrong.append(f"run {run.id} has other weights")
    if damaged := [place for place, reason in find([disturbed]).skipped if "never began" not in reason]:
        wrong.append(f"damaged: {damaged}")
    if table(undisturbed) != table(disturbed):
        wrong.append("another table")
    return wrong


def measured(run: Run) -> list[dict[str, str]]:
    with open(Path(run.folder) / "metrics.csv", newline="", encoding="utf-8") as file:
        return [{k: v for k, v in row.items() if k not in NOT_REPEATABLE} for row in csv.DictReader(file)]


def weights(run: Run) -> bytes:
    return (Path(run.folder) / "weights.safetensors").read_bytes()


def table(outputs: Path) -> str:
    return compare_table([outputs], format="csv", show=["mean", "std", "n", "ci", "best", "frames"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("overrides", nargs="*", help="further overrides, such as launcher=joblib")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = study(Path(folder), given.moments, given.seed, extra=tuple(given.overrides))
    print(report)
    sys.exit(1 if report.wrong else 0)


if __name__ == "__main__":
    main()
