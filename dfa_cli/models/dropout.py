"""Dropout that draws from the model's own generator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dfa_cli.kernels.dropout_mask import dropout_mask
from dfa_cli.kernels.sparse import SparseMatrix


class Dropout(nn.Module):
    """Zeroes entries with probability `p` in training and scales the others by `1 / (1 - p)` (Srivastava 2014).

    Unlike `torch.nn.Dropout` it draws from the model's own generator, not from the global one. For a sparse input the
    mask covers the stored entries only, since the others are zero with or without dropout.
    """

    def __init__(self, p: float):
        super().__init__()
        self.p = p
        self.generator: torch.Generator | None = None
        self._batch: _Batch | None = None  # while a batch comes in parts

    def forward(self, h: Tensor | SparseMatrix) -> Tensor | SparseMatrix:
        if not self.training or self.p == 0.0:
            return h
        if isinstance(h, SparseMatrix):
            return h.with_values(h.csr.values() * dropout_mask(h.csr.values(), self.p, self.generator))
        if self._batch is not None:
            return h * self._next_rows(
                h
            )  # The mask is not overwritten: autograd would see all its parts change.
        mask = dropout_mask(h, self.p, self.generator)
        # Only the gradient of `h` needs the mask later. Without one, the result takes its memory.
        return h * mask if h.requires_grad else mask.mul_(h)

    def _next_rows(self, h: Tensor) -> Tensor:
        """Return the rows of the mask of the batch that belong to `h`, the next part of the batch."""
        assert self._batch is not None
        if self._batch.mask is None:
            whole = h.new_empty(1).expand(self._batch.rows, *h.shape[1:])
            self._batch.mask = dropout_mask(whole, self.p, self.generator)
        first = self._batch.seen
        self._batch.seen += len(h)
        return self._batch.mask[first : self._batch.seen]


@dataclass
class _Batch:
    """A batch of `rows` rows that comes in parts, of which `seen` rows have come."""

    rows: int
    mask: Tensor | None = None
    seen: int = 0


@contextmanager
def micro_batches(blocks: Iterable[nn.Module], rows: int, first: int = 0) -> Iterator[None]:
    """Let the blocks compute a batch of `rows` rows in parts, the micro-batches, with the masks of the whole batch.

    Within the context each forward pass of a block sees the next rows. A mask is drawn once, when the first of them
    come. Inputs must be dense. `first`: the number of the first row that comes.
    """
    found = [module for block in blocks for module in block.modules() if isinstance(module, Dropout)]
    for dropout in found:
        dropout._batch = _Batch(rows, seen=first)
    try:
        yield
    finally:
        for dropout in found:
            dropout._batch = None
