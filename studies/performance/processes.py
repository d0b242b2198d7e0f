"""Measures whole processes, from their start to their exit: start-up, a sweep, and memory."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from dfa_cli.records.run import record_of
from studies.performance.page import Section
from studies.performance.rounds import Process, add_times, alternate, dfa, median, process, speedup

GCN = ("model=gcn", "data=cora")
CORA = (*GCN, "epochs=200", "progress=none")
JOBS = 20


def startup(rounds: int) -> Section:
    section = Section(
        "Start-up",
        "The table times whole processes, with the data set already prepared in the cache. `dfa train` "
        "trains `gcn` 64 wide on Cora for 200 epochs.",
    )
    with tempfile.TemporaryDirectory() as outputs:
        dfa("train", *CORA, f"outputs={outputs}")
        times = alternate(
            {
                "import torch": lambda: process("-c", "import torch"),
                "dfa --help": lambda: dfa("--help"),
                "dfa runs": lambda: dfa("runs", outputs),
                "dfa train": lambda: dfa("train", *CORA, f"outputs={outputs}"),
            },
            rounds,
        )
    add_times(section, times, "import torch", "seconds", 1.0)
    beyond = statistics.median(
        whole - base for whole, base in zip(times["dfa train"], times["import torch"], strict=True)
    )
    section.at_most("dfa train, beyond import torch", beyond, 2.0, "s")
    for name in ("dfa --help", "dfa runs"):
        section.at_most(name, median(times[name]), 0.4, "s")
    return section


def sweep(rounds: int) -> Section:
    section = Section(
        "A sweep",
        f"`dfa sweep` runs {JOBS} Cora jobs as above (seeds 0 to {JOBS - 1}), in one process and with joblib's "
        "workers.",
    )
    seeds = f"seed=range({JOBS})"
    launchers = {
        "one process": (),
        "joblib, 1 worker": ("launcher=joblib", "launcher.n_jobs=1"),
        "joblib, 2 workers": ("launcher=joblib", "launcher.n_jobs=2"),
    }
    loops: list[float] = []

    def run(*words: str) -> Process:
        with tempfile.TemporaryDirectory() as outputs:
            done = dfa("sweep", *GCN, "epochs=200", seeds, *words, f"outputs={outputs}")
            records = [record_of(path.parent) for path in Path(outputs).rglob("run.json")]
            assert len(records) == JOBS
            if not words:
                loops.append(sum(record["time"]["train_seconds"] for record in records))
            return done

    with tempfile.TemporaryDirectory() as outputs:
        start = alternate({"start-up": lambda: dfa("train", *GCN, "epochs=1", f"outputs={outputs}")}, rounds)
    times = alternate(
        {name: lambda w=words: run(*w) for name, words in launchers.items()}, min(rounds, 3), False
    )
    add_times(section, times, "one process", "seconds", 1.0)
    allowed = median(loops) + median(start["start-up"]) + 3.0
    section.text(
        f"The {JOBS} training loops took {median(loops):.2f} s, the start-up of one run "
        f"{median(start['start-up']):.2f} s."
    )
    section.at_most("one process, against loops + start-up + 3 s", median(times["one process"]), allowed, "s")
    best = speedup(times, "joblib, 2 workers", "one process")
    section.at_least("2 workers, times as fast as one process", best, 1.7)
    return section


def memory(rounds: int) -> Section:
    section = Section(
        "Memory",
        "The table has the peak resident memory of a whole process. It includes what `import torch` takes.",
    )
    mnist = ("model=fc", "data=mnist", "epochs=1", "progress=none")
    cases: dict[str, tuple[tuple[str, ...], float]] = {
        "MNIST, fc 2 x 1024, bp": ((*mnist, "rule=bp"), 900),
        "MNIST, fc 2 x 1024, dfa": ((*mnist, "rule=dfa", "device=cpu"), 900),
        "MNIST, fc 2 x 1024, dfa on opu_sim": ((*mnist, "rule=dfa", "device=opu_sim"), 900),
        "MNIST, fc 2 x 1024, dfa, bf16": ((*mnist, "rule=dfa", "device=cpu", "precision=bf16"), 900),
        "MNIST, fc 2 x 1024, shallow": ((*mnist, "rule=shallow"), 900),
        "Cora, gcn, bp": ((*CORA, "rule=bp"), 600),
        "Cora, gcn, dfa": ((*CORA, "rule=dfa", "device=cpu"), 600),
        "Cora, gcn, dfa on opu_sim": ((*CORA, "rule=dfa", "device=opu_sim"), 600),
    }
    rows = [["import torch", f"{process('-c', 'import torch').peak_mb:.0f}"]]
    for name, (words, most) in cases.items():
        # A peak varies by a few megabytes between equal processes, so the highest of several counts.
        with tempfile.TemporaryDirectory() as outputs:
            peak = max(dfa("train", *words, f"outputs={outputs}").peak_mb for _ in range(min(rounds, 2)))
        rows.append([name, f"{peak:.0f}"])
        section.at_most(name, peak, most, "MB")
    section.table(("process", "peak, MB"), rows)
    return section
