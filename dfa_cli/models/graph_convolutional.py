"""The graph convolutional network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dfa_cli.kernels.dense import cast, product
from dfa_cli.kernels.sparse import SparseMatrix
from dfa_cli.models.base import Model, ModelShape, glorot_, stack_blocks
from dfa_cli.models.batch import Graph


class GraphConvolution(nn.Module):
    """`A' h W + b`, `A' = D^-1/2 (A + I) D^-1/2` (Kipf & Welling 2017, eq. 2).

    `h` `[nodes, inputs]`, `W` `[inputs, width]`. The narrow side is propagated: `A' (h W)` when the layer narrows,
    `(A' h) W` when it widens; the result is the same.
    """

    deterministic = True  # nothing is drawn: training and evaluation compute the same

    def __init__(self, inputs: int, width: int, generator: torch.Generator | None):
        super().__init__()
        self.weight = nn.Parameter(glorot_(torch.empty(inputs, width), generator))
        self.bias = nn.Parameter(torch.zeros(width))
        self.matmul_dtype: torch.dtype | None = None

    def forward(self, h: Tensor | SparseMatrix, graph: Graph | None) -> Tensor:
        assert graph is not None
        if isinstance(h, SparseMatrix) or self.weight.shape[0] >= self.weight.shape[1]:
            return graph.adjacency @ self._product(h) + self.bias
        return self._product(graph.adjacency @ h.to(self.weight.dtype)) + self.bias

    def _product(self, h: Tensor | SparseMatrix) -> Tensor:
        """`h W`, in the weights' own type whatever it was computed in: sparse products have no other."""
        if isinstance(h, SparseMatrix):
            return h @ self.weight
        h, weight = cast(self.matmul_dtype, h, self.weight)
        return product(h, weight).to(self.weight.dtype)


class GraphConvolutional(Model):
    """`h_i = act(A' dropout(h_{i-1}) W_i + b_i)`, the last block linear (Kipf & Welling 2017, arXiv 1609.02907).

    `hidden`: widths of the hidden blocks, any number of them; `activation`: `tanh` or `relu`; `input_dropout`: of
    the node features; `dropout`: of every other block's input.
    """

    def __init__(
        self, sizes: ModelShape, hidden: Sequence[int], activation: str, dropout: float, input_dropout: float
    ):
        super().__init__(
            stack_blocks(GraphConvolution, sizes, hidden, activation, dropout, input_dropout), sizes.dropout
        )
