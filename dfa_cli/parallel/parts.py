"""Divides a batch into micro-batches."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

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


def split_batch(batch: Batch, count: int, exactly: bool = False) -> list[MicroBatch]:
    """Divide a batch into `count` micro-batches whose numbers of rows differ by one at most.

    A batch with fewer rows than `count` gives fewer micro-batches, or some without rows if `exactly` is set.
    Raises `DfaError` for a graph that would be divided.
    """
    rows = len(batch.y)
    if count == 1:
        return [MicroBatch(batch, 0, rows)]
    require_rows(batch)
    size, larger = divmod(rows, count)
    firsts = [m * size + min(m, larger) for m in range(count + 1)]
    parts = [rows_of(batch, first, last) for first, last in pairwise(firsts)]
    return parts if exactly else [part for part in parts if part.rows]


def rows_of(batch: Batch, first: int, last: int) -> MicroBatch:
    """Return the rows `first` to `last - 1` of a batch."""
    assert isinstance(batch.x, Tensor)
    part = Batch(batch.x[first:last], batch.y[first:last])
    return MicroBatch(part, first, last, (last - first) / len(batch.y))


def require_rows(batch: Batch, advice: str = "parallel.micro_batches=1") -> None:
    """Raise `DfaError` for a batch whose rows depend on one another, or that has rows without a label."""
    if batch.graph is not None or batch.rows is not None or not isinstance(batch.x, Tensor):
        raise DfaError(
            f"The rows of a graph cannot be divided, since they depend on one another. Use {advice}."
        )
