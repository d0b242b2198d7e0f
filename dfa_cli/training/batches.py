"""From a data set to the batches of an epoch."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from dfa_cli.data.base import Data
from dfa_cli.kernels.sparse import SparseMatrix
from dfa_cli.models.batch import Batch, Graph


class Batches:
    """The training rows, in a new order each epoch, `size` at a time; the whole graph at once for a graph.

    `order` is the generator of the shuffling. With `size = None` every epoch is a single step on all training rows.
    """

    def __init__(self, data: Data, size: int | None, order: torch.Generator):
        self.size = size
        self.order = order
        self.x: Tensor | SparseMatrix = (
            SparseMatrix.of(data.x) if data.x.layout == torch.sparse_csr else data.x
        )
        self.y = data.y
        self.train = data.train
        self.whole: Batch | None = None
        if data.edge_index is not None:
            graph = Graph(data.edge_index, len(data.y))
            self.whole = Batch(self.x, self.y, data.train, graph)

    def __iter__(self) -> Iterator[Batch]:
        if self.whole is not None:
            yield self.whole
            return
        rows = self.train
        if self.size is None:
            yield self.of(rows)
            return
        # drawn on the CPU, so that the order does not depend on where the tensors live
        rows = rows[
            torch.randperm(len(rows), generator=self.order).to(rows.device, non_blocking=rows.is_cuda)
        ]
        for chunk in rows.split(self.size):
            yield self.of(chunk)

    def sample(self, size: int = 1024) -> Batch:
        """The same rows in every call, for measurements: the first `size` of the training set, or the whole graph."""
        return self.whole if self.whole is not None else self.of(self.train[:size])

    def of_inputs(self, x: Tensor) -> Batches:
        """The same rows in the same order, with `x` `[rows, columns]` in the place of the features."""
        other = copy.copy(self)
        other.x = x
        if self.whole is not None:
            other.whole = replace(self.whole, x=x)
        return other

    def of(self, rows: Tensor) -> Batch:
        """The batch of these rows `[n]`."""
        assert isinstance(self.x, Tensor)
        # index_select: a third of the time of x[rows]
        return Batch(self.x.index_select(0, rows), self.y.index_select(0, rows))
