"""Compares the lengths of training on MNIST by validation accuracy, at equal values of everything else."""

from __future__ import annotations

from collections.abc import Sequence

from studies.results.selection import pick
from studies.results.table import Row
from studies.results.tuning import SEARCHED

LENGTHS = {"20": "tuning_mnist_regularisation", "40": "tuning_mnist_length"}


def lines(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return a line for each rule: of the combinations that both searches tried, the best of each."""
    shown = []
    for rule in ("bp", "dfa", "shallow"):
        found = []
        for epochs, name in LENGTHS.items():
            some = pick(rows, experiment=name, rule=rule, epochs=epochs, seed="100")
            found.append({tuple(row[key] for key in SEARCHED if key != "epochs"): row for row in some})
        common = [key for key in found[0] if key in found[1]]
        if common:
            best = (100 * max(float(by[key]["validation"]) for key in common) for by in found)
            shown.append((f"`{rule}`", str(len(common)), *(f"{value:.2f}" for value in best)))
    return shown
