"""The metrics are those that commit 4af7c01 measured, epoch by epoch, within what another processor changes.

golden_metrics.json holds them, made by `studies/reliability/same_results.py --golden`. On one machine two commits are
compared bit for bit by that script; between processors the last bits differ.

The tolerance: with the vector instructions of torch, oneDNN and MKL cut back to those of older processors, losses moved
by at most 1e-5 of themselves, alignments by 1e-5, and no accuracy moved. A hundred times that is allowed to a loss. An
accuracy may move by 0.01, which is two or three rows of a small validation set. A real change shows: another seed moves
some epoch's training loss by 4e-3 of itself or more, and a rate of learning that is 1 % higher by 3.6e-3 or more in all
configurations but `shallow`, where it is 4e-4.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from program import Dfa

GOLDEN = json.loads(Path(__file__).with_name("golden_metrics.json").read_text("utf-8"))["configurations"]
EMBEDDED = ("digits", "digits_graph")


def data_set(words: list[str]) -> str:
    return next(word.removeprefix("data=") for word in words if word.startswith("data="))


def alike(column: str, expected: str) -> Any:
    """What the text of a cell has to be, as a number; the counts and the empty cells exactly."""
    if expected == "" or column in ("epoch", "frames"):
        return expected
    if column.endswith("_loss"):
        return pytest.approx(float(expected), rel=1e-3)
    return pytest.approx(float(expected), abs=0.01)


def number(expected: Any, cell: str) -> Any:
    return cell if isinstance(expected, str) else float(cell)


@pytest.mark.parametrize("name", GOLDEN)
def test_each_epoch_is_as_it_was(name: str, dfa: Dfa) -> None:
    words = GOLDEN[name]["words"]
    if data_set(words) not in EMBEDDED:
        fetched = dfa("data", "fetch", data_set(words))
        if fetched.code:
            pytest.skip(f"no copy of {data_set(words)} on this machine: {fetched.sentence}")
    golden = list(csv.DictReader(GOLDEN[name]["metrics"]))
    found = dfa.run(*words).repeatable
    assert len(found) == len(golden)
    for row, expected in zip(found, golden, strict=True):
        wanted = {column: alike(column, cell) for column, cell in expected.items()}
        assert list(row) == list(wanted)
        assert {column: number(wanted[column], cell) for column, cell in row.items()} == wanted
