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
    """One graph convolution: mixes each node's features with its neighbours' and applies a linear map.

        A' h W + b      A' = D^-1/2 (A + I) D^-1/2      (Kipf & Welling 2017, eq. 2)

    `h` `[nodes, inputs]`, `W` `[inputs, width]`. The sparse product is done on the narrower side: `A' (h W)` when the
    layer narrows, `(A' h) W` when it widens. The result is the same.
    """

    deterministic = True  # the layer draws no random numbers: training and evaluation give the same output

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
        """Compute `h W` in `matmul_dtype` and return it in the type of the weights, which sparse products need."""
        if isinstance(h, SparseMatrix):
            return h @ self.weight
        h, weight = cast(self.matmul_dtype, h, self.weight)
        return product(h, weight).to(self.weight.dtype)


class GraphConvolutional(Model):
    """A graph convolutional network (GCN) with any number of hidden blocks.

        h_i = act(A' dropout(h_{i-1}) W_i + b_i)      the last block without act

    `hidden`: widths of the hidden blocks. `activation`: `tanh` or `relu`. `input_dropout`: probability with which the
    first block drops the node features. `dropout`: the same for the input of every other block.

    Kipf & Welling 2017 (arXiv 1609.02907).
    """

    def __init__(
        self, sizes: ModelShape, hidden: Sequence[int], activation: str, dropout: float, input_dropout: float
    ):
        super().__init__(
            stack_blocks(GraphConvolution, sizes, hidden, activation, dropout, input_dropout), sizes.dropout
        )
