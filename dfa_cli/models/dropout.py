"""Dropout that draws from the model's own generator."""

from __future__ import annotations

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

    def forward(self, h: Tensor | SparseMatrix) -> Tensor | SparseMatrix:
        if not self.training or self.p == 0.0:
            return h
        if isinstance(h, SparseMatrix):
            return h.with_values(h.csr.values() * dropout_mask(h.csr.values(), self.p, self.generator))
        return h * dropout_mask(h, self.p, self.generator)
