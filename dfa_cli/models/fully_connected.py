"""Fully connected networks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dfa_cli.kernels.activations import Activation
from dfa_cli.kernels.dense import affine
from dfa_cli.kernels.sparse import SparseMatrix
from dfa_cli.models.base import Model, ModelShape, glorot_, stack_blocks
from dfa_cli.models.batch import Graph


class Linear(nn.Module):
    """`h W + b`, `W` `[inputs, width]`: kept the way the product reads it, sparse inputs included."""

    deterministic = True  # nothing is drawn: training and evaluation compute the same

    def __init__(self, inputs: int, width: int, generator: torch.Generator | None):
        super().__init__()
        self.weight = nn.Parameter(glorot_(torch.empty(inputs, width), generator))
        self.bias = nn.Parameter(torch.zeros(width))
        self.matmul_dtype: torch.dtype | None = None

    def forward(self, h: Tensor | SparseMatrix, graph: Graph | None) -> Tensor:
        return self.activated(h, graph, None)

    def activated(
        self, h: Tensor | SparseMatrix, graph: Graph | None, activation: Activation | None
    ) -> Tensor:
        """`activation(h W + b)`."""
        if isinstance(h, SparseMatrix):
            z = h @ self.weight + self.bias
            return z if activation is None else activation(z)
        return affine(h, self.weight, self.bias, activation, self.matmul_dtype)


class FullyConnected(Model):
    """`h_i = act(dropout(h_{i-1}) W_i + b_i)`, the last block linear.

    `hidden`: widths of the hidden blocks, any number of them; `activation`: `tanh` or `relu`; `input_dropout`: of
    the first block's input; `dropout`: of every other block's.
    """

    def __init__(
        self, sizes: ModelShape, hidden: Sequence[int], activation: str, dropout: float, input_dropout: float
    ):
        super().__init__(
            stack_blocks(Linear, sizes, hidden, activation, dropout, input_dropout), sizes.dropout
        )
