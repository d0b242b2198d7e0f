"""Times several programs in turns, so that a drift of the machine's speed affects all alike."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from dfa_cli.config import auto
from dfa_cli.config.compose import compose_run
from studies.performance.page import ROOT, Section

Round = Callable[[], object]
Times = dict[str, list[float]]


def alternate(contenders: Mapping[str, Round], rounds: int, warm_up: bool = True) -> Times:
    """Time the contenders in turns (A B C A B C ...) and return the seconds of each round. A warm-up is not counted."""
    times: Times = {name: [] for name in contenders}
    for number in range(rounds + warm_up):
        for name, one_round in contenders.items():
            began = time.perf_counter()
            one_round()
            if number >= warm_up:
                times[name].append(time.perf_counter() - began)
    return times


def speedup(times: Times, name: str, against: str) -> float:
    """Return how many times as fast as `against` the contender `name` is: the median of the ratios of each round."""
    return statistics.median(b / a for a, b in zip(times[name], times[against], strict=True))


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def add_times(section: Section, times: Times, against: str, unit: str, scale: float) -> None:
    """Add a table with one line a contender: median, fastest, slowest, and how many times as fast as `against`."""
    rows = [
        [
            name,
            *(f"{scale * value:.3f}" for value in (median(seconds), min(seconds), max(seconds))),
            f"{speedup(times, name, against):.2f}",
        ]
        for name, seconds in times.items()
    ]
    section.table((unit, "median", "fastest", "slowest", f"times as fast as {against}"), rows)


def resolved_config(*words: str) -> dict:
    """Compose a configuration and replace every `auto` by what it means on this machine."""
    spec = compose_run(words)
    return auto.resolve_auto(spec.config)


def with_threads(count: int, one_round: Round) -> Round:
    def run() -> None:
        torch.set_num_threads(count)
        one_round()

    return run


@dataclass(frozen=True)
class Process:
    """The time, peak memory and output of a whole process."""

    seconds: float
    peak_mb: float
    output: str


# The measured process inherits the peak memory of its parent. So a small Python process, which has imported nothing,
# starts it and reports.
STARTER = """
import resource, subprocess, sys, time
began = time.perf_counter()
code = subprocess.call(sys.argv[2:])
seconds = time.perf_counter() - began
with open(int(sys.argv[1]), "w") as found:
    found.write(f"{seconds} {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}")
sys.exit(code)
"""


def process(*arguments: str) -> Process:
    """Run `python ARGUMENTS` and measure it. Raises `RuntimeError` with the output when it fails."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    read, write = os.pipe()
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", STARTER, str(write), sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        pass_fds=[write],
    )
    os.close(write)
    output, _ = child.communicate()
    with open(read) as found:
        figures = found.read().split()
    if child.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with code {child.returncode}:\n{output}")
    per_mb = 1e6 if sys.platform == "darwin" else 1e3  # macOS counts bytes, Linux kilobytes
    return Process(float(figures[0]), float(figures[1]) / per_mb, output)


def dfa(*words: str) -> Process:
    return process("-m", "dfa_cli.cli", *words)
