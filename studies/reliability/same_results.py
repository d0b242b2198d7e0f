"""Checks that two checkouts of dfa give the same results: trains six configurations in both and compares bit for bit.

    git worktree add ../before 4af7c01
    .venv/bin/python -m studies.reliability.same_results --other ../before

The metrics are compared as text, in all columns but the seconds. The weights are compared tensor by tensor: type, shape
and bytes. It takes one thread and less than two minutes. The exit code is 1 when anything differs, and each difference
is named by its first epoch, column or tensor. A configuration whose data set is not available is left out and named.

`--golden FILE` writes the metrics of the other tree, for tests/training/test_golden_metrics.py.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studies.trees import FailedError, Tree, add_options, record, records, two_trees

# together: each kind of model, rule, device, data set and optimizer, dropout, spread and alignment
CONFIGURATIONS = {
    "fc, digits, bp": (
        "model=fc",
        "data=digits",
        "rule=bp",
        "model.hidden=[64,48]",
        "optimizer=adamw",
        "schedule=cosine",
        "epochs=8",
    ),
    "fc, digits, dfa on opu_sim": (
        "model=fc",
        "data=digits",
        "rule=dfa",
        "device=opu_sim",
        "device/readout=statistical",
        "model.hidden=[64,48]",
        "model.dropout=0.2",
        "model.input_dropout=0.1",
        "optimizer.lr=0.003",
        "batch_size=50",
        "epochs=8",
    ),
    "gcn, cora, dfa on off_axis": (
        "model=gcn",
        "data=cora",
        "rule=dfa",
        "device=opu_sim",
        "device/readout=off_axis",
        "epochs=40",
    ),
    "gcn, citeseer, shallow": ("model=gcn", "data=citeseer", "rule=shallow", "epochs=60"),
    "fc, mnist, dfa": (
        "model=fc",
        "data=mnist",
        "rule=dfa",
        "device=cpu",
        "precision=fp32",
        "model.hidden=[64,48]",
        "epochs=2",
    ),
    "gat, digits_graph, dfa spread": (
        "model=gat",
        "data=digits_graph",
        "rule=dfa",
        "tuned=gat_cora_dfa",  # for rule.spread_over_edges, which has another name in earlier trees
        "device=cpu",
        "model.input_dropout=0.2",
        "optimizer.lr=0.02",
        "optimizer.weight_decay=0.0",
        "alignment_every=2",
        "epochs=16",
    ),
}
NOT_REPEATABLE = "seconds"
ALWAYS = ("compute=cpu", "threads=1", "seed=0", "progress=none")


@dataclass(frozen=True)
class Tensor:
    """A tensor as it is stored in a safetensors file."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


def tensors(file: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file.

    It consists of eight bytes with the length of the header, the header in JSON, and the numbers.
    """
    content = file.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8:start])
    found = {}
    for name, entry in header.items():
        if name != "__metadata__":
            first, end = entry["data_offsets"]
            found[name] = Tensor(entry["dtype"], tuple(entry["shape"]), content[start + first : start + end])
    return found


def metrics(run: Path) -> list[dict[str, str]]:
    """Read the lines of metrics.csv as text, without the seconds."""
    with open(run / "metrics.csv", newline="", encoding="utf-8") as file:
        return [
            {name: cell for name, cell in row.items() if name != NOT_REPEATABLE}
            for row in csv.DictReader(file)
        ]


def metrics_difference(this: list[dict[str, str]], other: list[dict[str, str]]) -> str | None:
    """Describe the first difference, or return `None`."""
    columns = [list(rows[0]) if rows else [] for rows in (this, other)]
    if columns[0] != columns[1]:
        return f"the columns are {', '.join(columns[0])} here and {', '.join(columns[1])} there"
    for mine, its in zip(this, other, strict=False):
        for name, cell in mine.items():
            if cell != its[name]:
                return f"epoch {mine['epoch']}, {name}: {cell} here and {its[name]} there"
    if len(this) != len(other):
        return f"{len(this)} epochs here and {len(other)} there"
    return None


def weights_difference(this: dict[str, Tensor], other: dict[str, Tensor]) -> str | None:
    """Describe the first difference, or return `None`."""
    if list(this) != list(other):
        return f"the tensors are {', '.join(this)} here and {', '.join(other)} there"
    for name, mine in this.items():
        its = other[name]
        if (mine.dtype, mine.shape) != (its.dtype, its.shape):
            return f"{name}: {mine.dtype} {list(mine.shape)} here and {its.dtype} {list(its.shape)} there"
        if mine.data != its.data:
            return f"{name}: the bytes differ"
    return None


def train(tree: Tree, number: int, words: tuple[str, ...]) -> Path:
    """Train with these words and return the folder of the run. Raises `FailedError` when there is not exactly one."""
    outputs = tree.folder / f"outputs_{number}"
    output = tree.dfa("train", f"outputs={outputs}", *ALWAYS, *words).output
    found = records(outputs)
    if len(found) != 1:
        raise FailedError(f"{tree.name}: {len(found)} records instead of one:\n{output}")
    return found[0]


def data_set(words: tuple[str, ...]) -> str:
    return next(word.removeprefix("data=") for word in words if word.startswith("data="))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add_options(parser)
    parser.add_argument(
        "--golden", type=Path, metavar="FILE", help="write the metrics of the other tree to FILE"
    )
    options = parser.parse_args()

    lines: list[str] = []
    golden: dict[str, Any] = {}
    origin: dict[str, Any] = {}
    with two_trees(options) as trees:
        print(f"this: {trees[0].root}\nother: {trees[1].root}\n")
        print(f"{'configuration':<30} epochs  metrics    weights    accuracy", flush=True)
        missing = {
            name
            for name in dict.fromkeys(data_set(words) for words in CONFIGURATIONS.values())
            if not all(tree.has(name) for tree in trees)
        }
        for number, (name, words) in enumerate(CONFIGURATIONS.items()):
            if data_set(words) in missing:
                print(f"{name:<30} left out: the data set {data_set(words)} is not available", flush=True)
                continue
            try:
                runs = [train(tree, number, words) for tree in trees]
            except FailedError as error:
                print(f"{name:<30} failed", flush=True)
                lines.append(f"{name}: {error}")
                continue
            this, other = (metrics(run) for run in runs)
            differences = {
                "metrics": metrics_difference(this, other),
                "weights": weights_difference(*(tensors(run / "weights.safetensors") for run in runs)),
            }
            lines += [
                f"{name}, {kind}: {difference}" for kind, difference in differences.items() if difference
            ]
            verdicts = ["equal" if difference is None else "DIFFERENT" for difference in differences.values()]
            accuracy = record(runs[0])["result"]["test_accuracy_at_best_validation"]
            print(
                f"{name:<30} {len(this):>6}  {verdicts[0]:<10} {verdicts[1]:<10} {accuracy:>8.1%}", flush=True
            )
            golden[name] = {"words": [*ALWAYS, *words], "metrics": _csv(other)}
            origin = record(runs[1])["provenance"]

    if options.golden:
        whole = {"made_with": _made_with(origin), "configurations": golden}
        options.golden.write_text(json.dumps(whole, indent=1) + "\n", "utf-8")
        print(f"\nthe metrics of the other tree are in {options.golden}")
    compared = f"{len(golden)} of {len(CONFIGURATIONS)} configurations compared"
    print(f"\n{compared}; {'all equal, bit for bit' if not lines else 'differences:'}")
    for line in lines:
        print(f"  {line}")
    return 1 if lines or not golden else 0


def _csv(rows: list[dict[str, str]]) -> list[str]:
    return [",".join(cells) for cells in (rows[0], *(row.values() for row in rows))]


def _made_with(origin: dict[str, Any]) -> dict[str, str]:
    """Return the commit, processor and torch version that made the figures, so that they can be made again."""
    return {
        "commit": origin["git"]["commit"],
        "processor": origin["processor"],
        "torch": origin["versions"]["torch"],
    }


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except FailedError as error:
        sys.exit(f"error: {error}")
