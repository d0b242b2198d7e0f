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
    """A linear layer `h W + b` for dense and sparse inputs.

    Unlike `torch.nn.Linear` it stores `W` as `[inputs, width]`, the layout in which the products read it.
    """

    deterministic = True  # the layer draws no random numbers: training and evaluation give the same output
    edges = 0  # from how many edges away an input enters an output

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
        """Compute `activation(h W + b)`, in one pass where that is faster."""
        if isinstance(h, SparseMatrix):
            z = h @ self.weight + self.bias
            return z if activation is None else activation(z)
        return affine(h, self.weight, self.bias, activation, self.matmul_dtype)


class FullyConnected(Model):
    """A fully connected network (multilayer perceptron) with any number of hidden blocks.

        h_i = act(dropout(h_{i-1}) W_i + b_i)      the last block without act

    `hidden`: widths of the hidden blocks. `activation`: `tanh` or `relu`. `input_dropout`: probability with which the
    first block drops its input. `dropout`: the same for every other block.
    """

    def __init__(
        self, sizes: ModelShape, hidden: Sequence[int], activation: str, dropout: float, input_dropout: float
    ):
        super().__init__(
            stack_blocks(Linear, sizes, hidden, activation, dropout, input_dropout), sizes.dropout
        )
