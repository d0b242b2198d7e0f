"""Measures what threads gain on a quiet machine, and what they cost beside other programs.

    .venv/bin/python -m studies.performance.threads                 half an hour on a quiet machine with two cores
    .venv/bin/python -m studies.performance.threads --rounds 2 --busy 1 --only digits    a trial

It writes its part of docs/performance.md. Every figure is the training time of a whole `dfa train`, so the processes
are set up as a user's are. The number of threads alternates: 1, 2, all, auto, 1, 2 ...
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dfa_cli.data.loading import load_data
from dfa_cli.records.run import record_of
from dfa_cli.training.setup import build_experiment
from dfa_cli.training.threads import best_threads, operations
from studies.performance.page import PAGE, Section, write
from studies.performance.rounds import Times, dfa, median, resolved_config

CASES: dict[str, tuple[str, ...]] = {
    "digits": ("model=fc", "data=digits", "model.hidden=[64,64]", "epochs=40", "device=cpu"),
    "mnist": ("model=fc", "data=mnist", "epochs=1", "device=cpu"),
    "cora": ("model=gcn", "data=cora", "epochs=200", "device=cpu"),
}
AUTO, SPINNING = "auto", "all, spinning"
SPIN_COUNT = "300000"  # what GNU's OpenMP does by default
BUSY_LOOPS_A_CORE = 2
CORES = (2, 4, 16)
QUIET_ROUNDS, BUSY_ROUNDS = 20, 5


def settings() -> dict[str, str]:
    """Return the value of `threads` for each setting."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    counts = sorted({1, min(2, cores), cores})
    return {f"{count}": f"{count}" for count in counts} | {AUTO: "null"}


def seconds(words: Sequence[str], threads: str, environment: Mapping[str, str]) -> float:
    """Train once in a process of its own, and return the seconds of its training loop."""
    with tempfile.TemporaryDirectory() as outputs, _environment(environment):
        dfa("train", *words, f"threads={threads}", "progress=none", f"outputs={outputs}")
        (record,) = (record_of(path.parent) for path in Path(outputs).rglob("run.json"))
    return record["time"]["train_seconds"]


@contextlib.contextmanager
def _environment(more: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in more}
    os.environ.update(more)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Let so many other programs compute without a pause."""
    loops = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def measure(words: Sequence[str], rounds: int, spinning: bool) -> Times:
    """Return the seconds of each setting and round. The settings take turns."""
    every = dict(settings())
    times: Times = {name: [] for name in [*every, *([SPINNING] if spinning else [])]}
    most = str(max(int(value) for value in every.values() if value != "null"))
    for _ in range(rounds):
        for name in times:
            spin = {"GOMP_SPINCOUNT": SPIN_COUNT} if name == SPINNING else {}
            times[name].append(seconds(words, every.get(name, most), spin))
    return times


def threads(rounds: int, busy_rounds: int = BUSY_ROUNDS, only: Sequence[str] = tuple(CASES)) -> Section:
    loops = BUSY_LOOPS_A_CORE * (os.cpu_count() or 1)
    section = Section(
        "Threads",
        "The tables have the seconds that `dfa train` trains, by the number of threads, for three cases: "
        "digits (`fc`, 64,64), an epoch of MNIST (`fc`, 2 x 1024) and Cora (`gcn`). *Busy* means that two "
        "other programs for each core compute without a pause. *Spinning* means all threads, with the spin "
        "count that GNU's OpenMP has by default.",
    )
    for name in only:
        quiet = measure(CASES[name], rounds, spinning=True)
        with busy_loops(loops):
            busy = measure(CASES[name], busy_rounds, spinning=False)
        rows = []
        for setting, values in quiet.items():
            cells = [f"{value:.2f}" for value in (median(values), min(values), max(values))]
            beside = busy.get(setting)
            more = [f"{value:.2f}" for value in (median(beside), max(beside))] if beside else ["", ""]
            rows.append([setting, *cells, *more])
        head = (f"{name}, threads", "quiet, median", "fastest", "slowest", "busy, median", "slowest")
        section.table(head, rows)
        fixed = [setting for setting in busy if setting != AUTO]
        best = min(median(quiet[setting]) for setting in fixed)
        section.at_most(f"{name}, auto in times of the best, quiet", median(quiet[AUTO]) / best, 1.1, "")
        section.at_most(
            f"{name}, auto busy in times of quiet", median(busy[AUTO]) / median(quiet[AUTO]), 6, ""
        )
        better = min(median(busy[fixed[0]]), median(busy[fixed[-1]]))
        section.at_most(
            f"{name}, auto busy in times of the better of one and all", median(busy[AUTO]) / better, 1.4, ""
        )
        section.at_most(
            f"{name}, all threads in times of spinning ones, quiet",
            median(quiet[fixed[-1]]) / median(quiet[SPINNING]),
            1.03,
            "",
        )
    section.table(
        (
            "operations of a step, and threads that auto takes",
            "operations",
            *(f"of {n} cores" for n in CORES),
        ),
        [choices(CASES[name], name) for name in only],
    )
    return section


def choices(words: Sequence[str], name: str) -> list[str]:
    """Return what the cost model counts, and what follows for machines with other numbers of cores."""
    config = resolved_config(*words, "device=cpu", "compute=cpu")
    data = load_data(config)
    model = build_experiment(config, data).model
    work = operations(model, data, config["batch_size"])
    assert work is not None
    found = [str(best_threads(work, len(model.blocks), cores)) for cores in CORES]
    return [name, f"{work:.1e}", *found]


def main() -> None:
    from studies.performance.__main__ import PARTS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=QUIET_ROUNDS, help="rounds on the quiet machine (20)")
    parser.add_argument("--busy", type=int, default=BUSY_ROUNDS, help="rounds beside busy loops (5)")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES), help="measure only these")
    parser.add_argument("--print", action="store_true", help="print the section, and leave the page as it is")
    options = parser.parse_args()
    if min(options.rounds, options.busy) < 1:
        parser.error("--rounds and --busy must be at least 1")
    section = threads(options.rounds, options.busy, options.only)
    print("\n".join(section.lines()), end="\n\n", flush=True)
    if not options.print:
        write(section, list(PARTS), "threads")
        print(f"written to {PAGE}")


if __name__ == "__main__":
    main()
