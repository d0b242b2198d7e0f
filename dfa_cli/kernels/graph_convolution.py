"""A whole graph convolution, and its gradients by hand instead of by autograd's chain of small steps.

The plain torch line is `activation(A @ (h @ W) + b)`, or `activation((A @ h) @ W + b)` when `W` widens.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dfa_cli.kernels.activations import DERIVATIVES, IN_PLACE, Activation
from dfa_cli.kernels.dense import gradient_of_input, gradient_of_weight, multiply
from dfa_cli.kernels.sparse import SparseMatrix


def graph_convolution(
    adjacency: SparseMatrix,
    h: Tensor | SparseMatrix,
    weight: Tensor,
    bias: Tensor,
    activation: Activation | None,
    known: Tensor | None = None,
) -> Tensor:
    """Compute `activation(A h W + b)` `[nodes, width]`. A dense `h` has the type of the weights.

    When `A` has only some of the nodes' rows (`SparseMatrix.only`), so has the result.

    `known`: the result for these arguments, if it is known already. Then only the gradients are computed. The bits of
    the result and of the gradients are those of the plain line with the products of `sparse.py` and `dense.py`.
    """
    if not torch.is_grad_enabled() and known is None:
        return _compute(adjacency, h, weight, bias, activation)[0]
    return _GraphConvolution.apply(adjacency, h, weight, bias, activation, known)  # type: ignore[no-any-return]


def mixes_last(adjacency: SparseMatrix, h: Tensor | SparseMatrix, weight: Tensor) -> bool:
    """Tell whether `A (h W)` takes fewer multiplications than `(A h) W`. A sparse `h` is always multiplied first.

    With all rows of `A` this is so where `W` narrows. With few rows, fewer are multiplied by `W` in the other order.
    """
    if isinstance(h, SparseMatrix):
        return True
    (rows, nodes), (inputs, width) = adjacency.shape, weight.shape
    return (inputs * nodes + adjacency.stored) * width <= (inputs * rows) * width + adjacency.stored * inputs


def _compute(
    adjacency: SparseMatrix,
    h: Tensor | SparseMatrix,
    weight: Tensor,
    bias: Tensor,
    activation: Activation | None,
) -> tuple[Tensor, Tensor | None]:
    """Return the result, and the matrix that is multiplied by `W`, if it is dense."""
    if isinstance(h, SparseMatrix):
        factor, out = None, adjacency.matmul(h.matmul(weight))
    elif mixes_last(adjacency, h, weight):
        factor, out = h, adjacency.matmul(multiply(h, weight))
    else:
        factor = adjacency.matmul(h)
        out = multiply(factor, weight)
    out.add_(bias)
    return out if activation is None else IN_PLACE[activation](out), factor


class _GraphConvolution(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        adjacency: SparseMatrix,
        h: Tensor | SparseMatrix,
        weight: Tensor,
        bias: Tensor,
        activation: Activation | None,
        known: Tensor | None,
    ) -> Tensor:
        out, factor = _compute(adjacency, h, weight, bias, activation) if known is None else (known, None)
        ctx.adjacency, ctx.activation = adjacency, activation
        ctx.features = h if isinstance(h, SparseMatrix) else None
        ctx.save_for_backward(factor, weight, out if activation is not None else None)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor):  # type: ignore[override]
        factor, weight, out = ctx.saved_tensors
        _, needs_h, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        if ctx.activation is not None:
            gradient = DERIVATIVES[ctx.activation](gradient, out)
        for_bias = gradient.sum(0) if needs_bias else None
        for_h = for_weight = None
        if ctx.features is not None:
            if needs_weight:
                mixed = ctx.adjacency.transpose_matmul(gradient)
                for_weight = ctx.features.transpose_matmul(mixed)
        elif mixes_last(ctx.adjacency, factor, weight):
            mixed = ctx.adjacency.transpose_matmul(gradient)
            for_h = gradient_of_input(mixed, weight) if needs_h else None
            for_weight = gradient_of_weight(factor, mixed) if needs_weight else None
        else:
            for_weight = gradient_of_weight(factor, gradient) if needs_weight else None
            if needs_h:
                for_h = ctx.adjacency.transpose_matmul(gradient_of_input(gradient, weight))
        return None, for_h, for_weight, for_bias, None, None
