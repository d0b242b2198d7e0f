"""What is found wrong in the data of a class of the user's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from dfa_cli.data.base import Data

ROWS = torch.arange(12)
GOOD = Data("toy", torch.zeros(12, 3), ROWS % 2, 2, ROWS[:6], ROWS[6:9], ROWS[9:], "three parts")


def test_data_as_described_have_no_mistake() -> None:
    assert GOOD.mistake() is None
    assert replace(GOOD, x=GOOD.x.to_sparse_csr()).mistake() is None
    assert (
        replace(GOOD, y=torch.where(ROWS == 5, -1, GOOD.y), train=ROWS[:5]).mistake() is None
    )  # an unused row


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"x": GOOD.x.double()}, "x is torch.float64, and it must be a tensor of torch.float32."),
        ({"x": GOOD.x.numpy()}, "x is ndarray, and it must be a tensor of torch.float32."),
        ({"y": GOOD.y.int()}, "y is torch.int32, and it must be a tensor of torch.int64."),
        ({"y": GOOD.y[:5]}, "y has the shape [5], and x has 12 rows: it must be [12]."),
        ({"train": [0, 1]}, "train must be row indices"),
        ({"validation": ROWS > 8}, "validation must be row indices"),
        (
            {"test": ROWS[:0]},
            "test must be row indices: a tensor of torch.int64 with one dimension, and not empty.",
        ),
        ({"test": ROWS + 1}, "test has row indices from 1 to 12, and x has 12 rows."),
        ({"test": ROWS[8:]}, "test has a row twice, or one that another split has as well."),
        ({"train": ROWS[[0, 0]]}, "train has a row twice, or one that another split has as well."),
        ({"classes": 1}, "train has labels from 0 to 1, and they must be from 0 to 0: classes is 1."),
        ({"y": GOOD.y - 1}, "train has labels from -1 to 0, and they must be from 0 to 1: classes is 2."),
    ],
)
def test_a_mistake_is_said(change: dict[str, Any], says: str) -> None:
    assert str(replace(GOOD, **change).mistake()).startswith(says)
