"""Measures the speed and memory of dfa against standard PyTorch programs, and writes docs/performance.md.

    scripts/benchmark                 all parts, some twenty minutes on a quiet machine
    scripts/benchmark graphs mnist    only these parts; the others keep their earlier measurements

The programs compared take turns: A B C A B C. A figure is the median of the rounds, with the fastest and the slowest
round beside it. A ratio is the median of the ratios of each round, because the speed of a machine drifts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch

from dfa_cli.training.threads import process_threads
from studies.performance import processes, projection, scaling, threads, training
from studies.performance.page import PAGE, Section, write

PARTS: dict[str, Callable[[int], Section]] = {
    "graphs": training.graphs,
    "published": training.published,
    "mnist": training.mnist,
    "precision": training.precision,
    "shallow": training.shallow,
    "startup": processes.startup,
    "sweep": processes.sweep,
    "threads": threads.threads,
    "memory": processes.memory,
    "projection": projection.projection,
    "scaling": scaling.scaling,
}
GPU = "gpu"  # this part of the page holds what `scripts/gpu_check` found


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/benchmark", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS) + " (default: all)")
    parser.add_argument("--rounds", type=int, default=7, help="how often each program is measured (7)")
    options = parser.parse_args()
    unknown = [part for part in options.parts if part not in PARTS]
    if unknown or options.rounds < 1:
        parser.error(
            f"no such part: {', '.join(unknown)}; choose from {', '.join(PARTS)}"
            if unknown
            else f"--rounds is {options.rounds}; it must be at least 1"
        )
    cores = process_threads()
    for name in options.parts or PARTS:
        torch.set_num_threads(cores)  # parts change it
        section = PARTS[name](options.rounds)
        print("\n".join(section.lines()), end="\n\n", flush=True)
        write(section, [*PARTS, GPU], name)
    print(f"written to {PAGE}")


if __name__ == "__main__":
    main()
