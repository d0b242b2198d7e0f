"""Compares the speed of this checkout of dfa with that of another one.

    git worktree add ../before 4af7c01
    .venv/bin/python -m studies.performance.two_trees --other ../before
    .venv/bin/python -m studies.performance.two_trees --other ../before --only runs train --rounds 15

The two take turns (A B A B), every measurement is a new process, and a first round is not counted. A figure is the
median of the rounds with its quartiles. The last column is the median of the ratios pair by pair, because the speed of
a machine drifts. `import torch` is the same work in both trees, so the distance of its ratio from 1 shows how exact the
other ratios are.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import os
import random
import re
import shutil
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from studies.trees import FailedError, Tree, add_options, record, records, two_trees

QUIET = ("progress=none",)
CORA = ("model=gcn", "data=cora", "epochs=200", *QUIET)
MNIST = ("model=fc", "data=mnist", "model.hidden=[1024,1024]", "rule=dfa", "device=cpu", "epochs=1", *QUIET)
TINY = ("model=fc", "data=digits", "model.hidden=[16]")
FOUR = ("rule=bp,dfa,shallow", "device=cpu,opu_sim")  # bp and shallow project nothing: four runs
IMPORT = "import"
FEW, MANY = 20, 5000  # records in a folder


@dataclass(frozen=True)
class Part:
    """One measurement.

    `seconds`: times one round of one tree. `data`: the data set that it needs. `prepare`: is called once before the
    rounds. `beside_import`: the table also shows the time as a multiple of that of `import torch`.
    """

    what: str
    seconds: Callable[[Tree], float]
    data: str | None = None
    prepare: Callable[[Tree], None] | None = None
    beside_import: bool = False


def trained(tree: Tree, *words: str) -> tuple[float, float]:
    """Run `dfa train` and return the seconds of the whole process and of the training alone."""
    outputs = tree.folder / "trained"
    whole = tree.dfa("train", f"outputs={outputs}", *words).seconds
    (run,) = records(outputs)
    training = record(run)["time"]["train_seconds"]
    shutil.rmtree(outputs)
    return whole, training


def outside_training(tree: Tree) -> float:
    whole, training = trained(tree, *CORA)
    return whole - training


def sweep(tree: Tree) -> float:
    outputs = tree.folder / "swept"
    seconds = tree.dfa(
        "sweep",
        f"outputs={outputs}",
        *TINY,
        "rule=bp,dfa,shallow",
        "device=cpu",
        "seed=range(20)",
        "epochs=2",
    ).seconds
    found = len(records(outputs))
    if found != 60:
        raise FailedError(f"{tree.name}: the sweep has {found} records. It must have 60.")
    shutil.rmtree(outputs)
    return seconds


def templates(tree: Tree) -> Path:
    """Make four real runs with this tree, from which `store` makes many others."""
    folder = tree.folder / "templates"
    if not folder.exists():
        tree.dfa("sweep", f"outputs={folder}", *TINY, *FOUR, "seed=0", "epochs=20")
    return folder


def store(tree: Tree, count: int) -> Path:
    """Make a folder of `count` records: those of `templates` with other seeds, ids, times and accuracies."""
    folder = tree.folder / f"store_{count}"
    if folder.exists():
        return folder
    found = [(record(run), (run / "metrics.csv").read_bytes()) for run in records(templates(tree))]
    rng = random.Random(count)
    for number in range(count):
        template, metrics = found[number % len(found)]
        made = vary(template, number, number // len(found), rng)
        choices = made["choices"]
        names = "-".join(choices[key] for key in ("model", "data", "rule"))
        place = (
            folder / made["created"][:10] / f"{made['created'][11:19].replace(':', '-')}_{names}_{made['id']}"
        )
        place.mkdir(parents=True)
        (place / "run.json").write_text(json.dumps(made, indent=1), "utf-8")
        (place / "metrics.csv").write_bytes(metrics)
    return folder


def vary(template: dict[str, Any], number: int, seed: int, rng: random.Random) -> dict[str, Any]:
    """Make a record like the template, with another seed and `number` minutes later."""
    made = copy.deepcopy(template)
    made["id"], made["identity"] = _digits(f"id {number}", 8), _digits(f"identity {number}", 16)
    for key in ("created", "ended"):
        made[key] = (datetime.fromisoformat(template[key]) + timedelta(minutes=number)).isoformat()
    made["config"]["run_id"] = made["id"]
    made["config"]["seed"] = seed
    for key in ("matrix_seed", "noise_seed"):
        if key in made["config"]["device"]:
            made["config"]["device"][key] = seed
    made["overrides"] = [re.sub(r"^seed=.*", f"seed={seed}", word) for word in template["overrides"]]
    for key, value in template["result"].items():
        if "accuracy" in key and value is not None:
            made["result"][key] = min(1.0, max(0.0, value + rng.gauss(0, 0.01)))
    return made


def _digits(text: str, count: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:count]


PARTS = {
    IMPORT: Part('python -c "import torch"', lambda tree: tree.python("-c", "import torch").seconds),
    "help": Part("dfa --help", lambda tree: tree.dfa("--help").seconds, beside_import=True),
    "runs": Part(
        f"dfa runs, {FEW} records",
        lambda tree: tree.dfa("runs", str(store(tree, FEW))).seconds,
        prepare=lambda tree: _discard(store(tree, FEW)),
        beside_import=True,
    ),
    "train": Part("dfa train on Cora, less its training", outside_training, data="cora", beside_import=True),
    "compare": Part(
        f"dfa compare, {MANY:,} records",
        lambda tree: tree.dfa("compare", str(store(tree, MANY))).seconds,
        prepare=lambda tree: _discard(store(tree, MANY)),
    ),
    "mnist": Part("an epoch of MNIST, fc 2 x 1024, dfa", lambda tree: trained(tree, *MNIST)[1], data="mnist"),
    "cora": Part("200 epochs of Cora, gcn", lambda tree: trained(tree, *CORA)[1], data="cora"),
    "sweep": Part("dfa sweep, 60 jobs on digits", sweep),
}


def _discard(_: object) -> None:
    """Ignore the path: only the files that were made matter."""


def measure(trees: Sequence[Tree], names: Sequence[str], rounds: int) -> dict[str, list[list[float]]]:
    """Return the seconds by part, tree and round. The trees take turns within a part, and the parts within a round."""
    times: dict[str, list[list[float]]] = {name: [[] for _ in trees] for name in names}
    for number in range(rounds + 1):
        if sys.stderr.isatty():
            message = f"round {number} of {rounds}" if number else "warm-up round"
            print(f"\r{message}", end="\x1b[K", file=sys.stderr, flush=True)
        for name in names:
            for tree, seconds in zip(trees, times[name], strict=True):
                taken = PARTS[name].seconds(tree)
                if number:
                    seconds.append(taken)
    if sys.stderr.isatty():
        print("\r", end="\x1b[K", file=sys.stderr, flush=True)
    return times


def spread(values: Sequence[float]) -> str:
    """Write the median with the quartiles in brackets."""
    quartiles = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    low, middle, high = (f"{value:.3f}" for value in quartiles)
    return f"{middle} ({low} to {high})"


def table(times: dict[str, list[list[float]]], shown: Sequence[str]) -> list[str]:
    rows = [("seconds, median (quartiles)", "this", "other", "this / other, pair by pair")]
    for name in shown:
        rows.append(_row(PARTS[name].what, times[name]))
        if PARTS[name].beside_import:
            beside = [
                [taken / base for taken, base in zip(mine, imports, strict=True)]
                for mine, imports in zip(times[name], times[IMPORT], strict=True)
            ]
            rows.append(_row("  in times of import torch", beside))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _row(what: str, times: list[list[float]]) -> tuple[str, str, str, str]:
    this, other = times
    return what, spread(this), spread(other), spread([a / b for a, b in zip(this, other, strict=True)])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add_options(parser)
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, metavar="PART", help=f"measure only these: {', '.join(PARTS)}"
    )
    parser.add_argument("--rounds", type=int, default=9, help="rounds, without the warm-up (9)")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}; it must be at least 1")

    with two_trees(options) as trees:
        print(f"this: {trees[0].root}\nother: {trees[1].root}\n", flush=True)
        shown = [name for name in PARTS if name in (options.only or PARTS)]
        for data in sorted({PARTS[name].data or "" for name in shown} - {""}):
            if not all(tree.has(data) for tree in trees):
                gone = [name for name in shown if PARTS[name].data == data]
                print(f"left out: {', '.join(gone)}; the data set {data} is not available", flush=True)
                shown = [name for name in shown if name not in gone]
        for name in shown:
            for tree in trees:
                if prepare := PARTS[name].prepare:
                    prepare(tree)
        beside = any(PARTS[name].beside_import for name in shown)
        names = [name for name in PARTS if name in shown or (name == IMPORT and beside)]
        times = measure(trees, names, options.rounds)
        print("\n".join(table(times, names)))
        processor = record(records(templates(trees[0]))[0])["provenance"]["processor"]
    print(f"\nrounds: {options.rounds}; processor: {processor}, {os.cpu_count()} as the system counts them")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except FailedError as error:
        sys.exit(f"error: {error}")
