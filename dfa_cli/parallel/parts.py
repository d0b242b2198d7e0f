"""Divides a batch into micro-batches."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dfa_cli.errors import DfaError
from dfa_cli.models.batch import Batch


@dataclass(frozen=True)
class MicroBatch:
    """The rows `first` to `last - 1` of a batch. `weight`: the share with which their mean loss enters the batch's."""

    batch: Batch
    first: int
    last: int
    weight: float = 1.0

    @property
    def rows(self) -> int:
        return self.last - self.first


def split_batch(batch: Batch, count: int) -> list[MicroBatch]:
    """Divide a batch into at most `count` micro-batches. All have the same size, but the last may be smaller.

    Raises `DfaError` for a graph that would be divided.
    """
    rows = len(batch.y)
    if count == 1:
        return [MicroBatch(batch, 0, rows)]
    require_rows(batch)
    size = -(-rows // count)
    return [rows_of(batch, first, min(first + size, rows)) for first in range(0, rows, size)]


def rows_of(batch: Batch, first: int, last: int) -> MicroBatch:
    """Return the rows `first` to `last - 1` of a batch."""
    assert isinstance(batch.x, Tensor)
    part = Batch(batch.x[first:last], batch.y[first:last])
    return MicroBatch(part, first, last, (last - first) / len(batch.y))


def require_rows(batch: Batch) -> None:
    """Raise `DfaError` for a batch whose rows depend on one another, or that has rows without a label."""
    if batch.graph is not None or batch.rows is not None or not isinstance(batch.x, Tensor):
        raise DfaError(
            "A graph cannot be divided into micro-batches, since its rows depend on one another. "
            "Use parallel.micro_batches=1."
        )
