"""The metrics of every epoch are those that commit 4af7c01 measured, within what another processor changes.

The expected metrics are in golden_metrics.json, written by `studies/reliability/same_results.py --golden`. That script
also compares two commits bit for bit on one machine; between processors the last bits differ. The metrics of off_axis
were written again when its noise was drawn anew.

The tolerance was chosen as follows. When torch, oneDNN and MKL used only the vector instructions of older processors,
losses and alignments changed by at most 1e-5 (losses: relative) and no accuracy changed. A loss may change by a hundred
times that. An accuracy may change by 0.01, which is two or three rows of a small validation set. A real change is
larger: another seed changes the training loss of some epoch by 4e-3 or more (relative). A learning rate that is 1 %
higher changes it by 3.6e-3 or more in all configurations but `shallow`, where it is 4e-4.
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


def expected_cell(column: str, expected: str) -> Any:
    """Return what a cell must equal: counts and empty cells exactly, other numbers within the tolerance."""
    if expected == "" or column in ("epoch", "frames"):
        return expected
    if column.endswith("_loss"):
        return pytest.approx(float(expected), rel=1e-3)
    return pytest.approx(float(expected), abs=0.01)


def number(expected: Any, cell: str) -> Any:
    return cell if isinstance(expected, str) else float(cell)


@pytest.mark.parametrize("name", GOLDEN)
def test_the_metrics_of_every_epoch_have_not_changed(name: str, dfa: Dfa) -> None:
    words = GOLDEN[name]["words"]
    if data_set(words) not in EMBEDDED:
        fetched = dfa("data", "fetch", data_set(words))
        if fetched.code:
            pytest.skip(f"no copy of {data_set(words)} on this machine: {fetched.sentence}")
    golden = list(csv.DictReader(GOLDEN[name]["metrics"]))
    found = dfa.run(*words).repeatable
    assert len(found) == len(golden)
    for row, expected in zip(found, golden, strict=True):
        wanted = {column: expected_cell(column, cell) for column, cell in expected.items()}
        assert list(row) == list(wanted)
        assert {column: number(wanted[column], cell) for column, cell in row.items()} == wanted
