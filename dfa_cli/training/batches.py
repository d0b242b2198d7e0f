"""Divides a data set into the batches of an epoch."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from dfa_cli.data.base import Data
from dfa_cli.kernels.sparse import SparseMatrix
from dfa_cli.models.batch import Batch, Graph


class Batches:
    """Iterates over the batches of one epoch: `size` training rows at a time, in a new order every epoch.

    With `size = None` an epoch is one batch of all training rows. For a graph an epoch is always one batch, the whole
    graph. `order` is the generator that shuffles. After each mini-batch `observer` is called with the fraction
    of the epoch that is done.
    """

    def __init__(self, data: Data, size: int | None, order: torch.Generator):
        self.size = size
        self.order = order
        self.observer: Callable[[float], None] = lambda done: None
        self.x: Tensor | SparseMatrix = (
            SparseMatrix.from_tensor(data.x) if data.x.layout == torch.sparse_csr else data.x
        )
        self.y = data.y
        self.train = data.train
        self.whole: Batch | None = None
        if data.edge_index is not None:
            graph = Graph(data.edge_index, len(data.y))
            self.whole = Batch(self.x, self.y, data.train, graph)

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        if self.whole is not None or self.size is None:
            return 1
        return math.ceil(len(self.train) / self.size)

    def __iter__(self) -> Iterator[Batch]:
        return map(self.batch_of, self.rows())

    def rows(self) -> Iterator[Tensor | None]:
        """Yield the rows `[n]` of each batch of one epoch, as `batch_of` takes them."""
        rows = self.train
        if self.whole is not None or self.size is None:
            yield None if self.whole is not None else rows
            return
        # The order is drawn on the CPU, so that it does not depend on the device that trains.
        rows = rows[
            torch.randperm(len(rows), generator=self.order).to(rows.device, non_blocking=rows.is_cuda)
        ]
        for number, chunk in enumerate(rows.split(self.size), 1):
            yield chunk
            self.observer(min(number * self.size / len(rows), 1.0))

    def sample(self, size: int = 1024) -> Batch:
        """Return the same batch in every call, for measurements: the first `size` training rows, or the whole graph."""
        return self.whole if self.whole is not None else self.batch_of(self.train[:size])

    def with_inputs(self, x: Tensor) -> Batches:
        """Return batches of the same rows in the same order, with `x` `[rows, columns]` in place of the features."""
        other = copy.copy(self)
        other.x = x
        if self.whole is not None:
            other.whole = replace(self.whole, x=x)
        return other

    def batch_of(self, rows: Tensor | None) -> Batch:
        """Return the batch of these rows `[n]`; `None`: the whole graph."""
        if rows is None:
            assert self.whole is not None
            return self.whole
        assert isinstance(self.x, Tensor)
        # index_select takes a third of the time of x[rows].
        return Batch(self.x.index_select(0, rows), self.y.index_select(0, rows))
