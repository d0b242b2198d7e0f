"""Dropout with a generator of its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dfa_cli.kernels.sparse import SparseMatrix


class Dropout(nn.Module):
    """Zeroes entries with probability `p` in training and scales the rest by `1 / (1 - p)` (Srivastava 2014).

    The mask comes from the model's own generator, not from the global one. Of a sparse input only the stored
    entries are drawn: a zero dropped is a zero still.
    """

    def __init__(self, p: float):
        super().__init__()
        self.p = p
        self.generator: torch.Generator | None = None

    def forward(self, h: Tensor | SparseMatrix) -> Tensor | SparseMatrix:
        if not self.training or self.p == 0.0:
            return h
        if isinstance(h, SparseMatrix):
            return h.with_values(h.csr.values() * self._mask(h.csr.values()))
        return h * self._mask(h)

    def _mask(self, like: Tensor) -> Tensor:
        """`1 / (1 - p)` where kept, else 0. Four 16-bit draws from each 64-bit number: the generator is what costs,
        and `p` is met to within 2^-17, below 1 - 2^-16."""
        draws = torch.empty((like.numel() + 3) // 4, dtype=torch.int64, device=like.device)
        draws.random_(-(2**63), None, generator=self.generator)
        kept = draws.view(torch.int16)[: like.numel()] >= min(round(self.p * 2**16), 2**16 - 1) - 2**15
        return kept.view(like.shape).to(like.dtype).mul_(1.0 / (1.0 - self.p))
