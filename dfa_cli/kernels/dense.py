"""Products of activations and weights, computed in the memory layouts in which matrix libraries are fast.

The plain torch lines are `activation(h @ W + b)` for `affine` and `h @ W` for `product`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dfa_cli.kernels import onednn
from dfa_cli.kernels.activations import DERIVATIVES, IN_PLACE, Activation, tanh
from dfa_cli.kernels.sparse import SparseMatrix

# columns; a result with fewer columns takes several times as long to compute as its transpose
NARROW = 16


def cast(dtype: torch.dtype | None, h: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
    """Convert activations and parameters to the type in which a layer multiplies. `None` means the parameters' type.

    Gradients of the parameters still have the parameters' own type.
    """
    dtype = dtype or parameters[0].dtype
    return h.to(dtype), *(parameter.to(dtype) for parameter in parameters)


def affine(
    h: Tensor, weight: Tensor, bias: Tensor, activation: Activation | None, dtype: torch.dtype | None
) -> Tensor:
    """Compute `activation(h W + b)` `[rows, width]`, multiplied in `dtype` (see `cast`).

    Where oneDNN is faster, it does the product, the bias and tanh in one pass. The numbers are the same up to the order
    of summation.
    """
    h, weight, bias = cast(dtype, h, weight, bias)
    if weight.shape[1] < NARROW:
        z = product(h, weight) + bias
    elif onednn.is_faster(h, weight):
        return _FusedAffine.apply(h, weight, bias, activation)  # type: ignore[no-any-return]
    else:
        z = torch.addmm(bias, h, weight)
    if activation is None:
        return z
    # Nobody else needs `z`: the derivative is computed from the output.
    return activation(z) if z.dtype == torch.bfloat16 else IN_PLACE.get(activation, activation)(z)


def product(h: Tensor | SparseMatrix, weight: Tensor) -> Tensor:
    """Compute `h W` `[rows, width]` from `h` `[rows, inputs]` and `W` `[inputs, width]`.

    The gradients are `G W^T` and `h^T G`. The numbers are those of `h @ W` up to the order of summation. A result with
    few columns (the classes) is computed as `(W^T h^T)^T` where the matrix library does that faster.
    """
    if isinstance(h, SparseMatrix):
        return h @ weight
    if weight.shape[1] >= NARROW:
        return h @ weight
    return _NarrowProduct.apply(h, weight)  # type: ignore[no-any-return]


def multiply(h: Tensor, weight: Tensor) -> Tensor:
    """Compute `h W` as `product` does, without autograd."""
    if weight.shape[1] >= NARROW or not onednn.transpose_is_faster(h):
        return h @ weight
    return (weight.t() @ h.t()).t().contiguous()


def gradient_of_input(gradient: Tensor, weight: Tensor) -> Tensor:
    """Compute `G W^T`, the gradient of `product` for `h`, without autograd."""
    return onednn.matmul(gradient, weight.t()) if weight.shape[1] < NARROW else gradient @ weight.t()


def gradient_of_weight(h: Tensor, gradient: Tensor) -> Tensor:
    """Compute `h^T G`, the gradient of `product` for `W`, without autograd."""
    return (gradient.t() @ h).t().contiguous() if gradient.shape[1] < NARROW else h.t() @ gradient


class _NarrowProduct(torch.autograd.Function):
    """Computes a product with few columns, and the gradient of the weight through its transpose."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(h, weight)
        return multiply(h, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor):  # type: ignore[override]
        h, weight = ctx.saved_tensors
        return (
            gradient_of_input(gradient, weight) if ctx.needs_input_grad[0] else None,
            gradient_of_weight(h, gradient) if ctx.needs_input_grad[1] else None,
        )


class _FusedAffine(torch.autograd.Function):
    """Computes `activation(h W + b)` by oneDNN, with tanh in the same pass. The gradients are the usual ones.

    ReLU is applied by torch, because oneDNN's ReLU turns NaN into 0, which would hide that training has diverged.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, h: Tensor, weight: Tensor, bias: Tensor, activation: Activation | None
    ) -> Tensor:
        out = onednn.linear(h, weight, bias, tanh=activation is tanh)
        if activation is not None and activation is not tanh:
            out = activation(out)
        ctx.activation = activation
        ctx.save_for_backward(h, weight, out)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor):  # type: ignore[override]
        h, weight, out = ctx.saved_tensors
        if ctx.activation is not None:
            gradient = DERIVATIVES[ctx.activation](gradient, out)
        return (
            onednn.matmul(gradient, weight.t()) if ctx.needs_input_grad[0] else None,
            h.t() @ gradient if ctx.needs_input_grad[1] else None,
            gradient.sum(0) if ctx.needs_input_grad[2] else None,
            None,
        )
