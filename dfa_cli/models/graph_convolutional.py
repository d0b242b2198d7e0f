"""The graph convolutional network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dfa_cli.kernels.activations import Activation
from dfa_cli.kernels.dense import cast, product
from dfa_cli.kernels.graph_convolution import graph_convolution, mixes_last
from dfa_cli.kernels.sparse import SparseMatrix
from dfa_cli.models.base import Model, ModelShape, glorot_, stack_blocks
from dfa_cli.models.batch import Graph


class GraphConvolution(nn.Module):
    """One graph convolution: mixes each node's features with its neighbours' and applies a linear map.

        A' h W + b      A' = D^-1/2 (A + I) D^-1/2      (Kipf & Welling 2017, eq. 2)

    `h` `[nodes, inputs]`, `W` `[inputs, width]`. It is computed in the order that takes fewer multiplications:
    `A' (h W)` when the layer narrows, `(A' h) W` when it widens or when few rows of `A'` are wanted.
    """

    deterministic = True  # the layer draws no random numbers: training and evaluation give the same output
    gives_some_rows = True  # given a graph with some rows only, the layer gives those rows of its output
    edges = 1  # from how many edges away an input enters an output

    def __init__(self, inputs: int, width: int, generator: torch.Generator | None):
        super().__init__()
        self.weight = nn.Parameter(glorot_(torch.empty(inputs, width), generator))
        self.bias = nn.Parameter(torch.zeros(width))
        self.matmul_dtype: torch.dtype | None = None
        # Whether a training step takes over the output of the evaluation before it. `_of_features` says when it may.
        self.reuses_evaluation = False
        self._last_evaluation: _Evaluation | None = None

    def forward(self, h: Tensor | SparseMatrix, graph: Graph | None) -> Tensor:
        return self.activated(h, graph, None)

    def activated(
        self, h: Tensor | SparseMatrix, graph: Graph | None, activation: Activation | None
    ) -> Tensor:
        """Compute `activation(A' h W + b)`."""
        assert graph is not None
        if isinstance(h, SparseMatrix):
            return self._of_features(h, graph.adjacency, activation)
        if self.matmul_dtype is None:
            h = h.to(self.weight.dtype)
            return graph_convolution(graph.adjacency, h, self.weight, self.bias, activation)
        if mixes_last(graph.adjacency, h, self.weight):
            z = graph.adjacency @ self._product(h) + self.bias
        else:
            z = self._product(graph.adjacency @ h.to(self.weight.dtype)) + self.bias
        return z if activation is None else activation(z)

    def _product(self, h: Tensor) -> Tensor:
        """Compute `h W` in `matmul_dtype` and return it in the type of the weights, which sparse products need."""
        h, weight = cast(self.matmul_dtype, h, self.weight)
        return product(h, weight).to(self.weight.dtype)

    def _of_features(self, x: SparseMatrix, adjacency: SparseMatrix, activation: Activation | None) -> Tensor:
        """Compute the output from the node features.

        Without dropout of the features, an evaluation and the training step after it compute the same output. So it is
        kept from the evaluation, and the step computes only the gradients.
        """
        known, self._last_evaluation = self._last_evaluation, None
        if not torch.is_grad_enabled():
            out = graph_convolution(adjacency, x, self.weight, self.bias, activation)
            # On CUDA `is_of`, which compares the parameters, would make the CPU wait.
            if self.reuses_evaluation and not self.training and not out.is_cuda:
                parameters = self.weight.detach().clone(), self.bias.detach().clone()
                self._last_evaluation = _Evaluation(x, adjacency, activation, *parameters, out)
            return out
        out = known.out if known is not None and known.is_of(self, x, adjacency, activation) else None
        return graph_convolution(adjacency, x, self.weight, self.bias, activation, out)


@dataclass(frozen=True, eq=False)
class _Evaluation:
    """The output of a layer in an evaluation, and everything that it was computed from."""

    x: SparseMatrix
    adjacency: SparseMatrix
    activation: Activation | None
    weight: Tensor
    bias: Tensor
    out: Tensor

    def is_of(
        self,
        layer: GraphConvolution,
        x: SparseMatrix,
        adjacency: SparseMatrix,
        activation: Activation | None,
    ) -> bool:
        """Tell whether the layer would compute this output now.

        The parameters are compared by their numbers: a fused optimizer changes them without a new version of the
        tensor. The transposes of the matrices do not matter.
        """
        return (
            self.x.csr is x.csr
            and self.adjacency.csr is adjacency.csr
            and self.activation is activation
            and torch.equal(self.weight, layer.weight)
            and torch.equal(self.bias, layer.bias)
        )


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
        if isinstance(first := self.blocks[0].layer, GraphConvolution):
            first.reuses_evaluation = not input_dropout
