"""Products of activations and weights, in the layouts in which matrix libraries are fast.

The plain torch lines are `activation(h @ W + b)` for `affine` and `h @ W` for `product`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dfa_cli.kernels import onednn
from dfa_cli.kernels.activations import DERIVATIVES, Activation, tanh
from dfa_cli.kernels.sparse import SparseMatrix

NARROW = 16  # below this width a row-major result costs several times its transpose


def cast(dtype: torch.dtype | None, h: Tensor, *parameters: Tensor) -> tuple[Tensor, ...]:
    """Activations and parameters in the type that a layer multiplies in; `None` for that of the parameters.

    Gradients of the parameters come back in the parameters' own type.
    """
    dtype = dtype or parameters[0].dtype
    return h.to(dtype), *(parameter.to(dtype) for parameter in parameters)


def affine(
    h: Tensor, weight: Tensor, bias: Tensor, activation: Activation | None, dtype: torch.dtype | None
) -> Tensor:
    """`activation(h W + b)` `[rows, width]`, multiplied in `dtype` as `cast` says.

    Where oneDNN serves, the same numbers up to the order of summation come in one pass.
    """
    h, weight, bias = cast(dtype, h, weight, bias)
    if weight.shape[1] < NARROW:
        z = product(h, weight) + bias
    elif onednn.serves(h, weight):
        return _InOnePass.apply(h, weight, bias, activation)  # type: ignore[no-any-return]
    else:
        z = torch.addmm(bias, h, weight)
    return z if activation is None else activation(z)


def product(h: Tensor | SparseMatrix, weight: Tensor) -> Tensor:
    """`h W` `[rows, width]` of `h` `[rows, inputs]` and `W` `[inputs, width]`; gradients `G W^T` and `h^T G`.

    The same numbers as `h @ W` up to the order of summation. A result of few columns (the classes) is computed as
    `(W^T h^T)^T`, which matrix libraries do several times faster than the same product row by row.
    """
    if isinstance(h, SparseMatrix):
        return h @ weight
    if weight.shape[1] >= NARROW:
        return h @ weight
    return _Narrow.apply(h, weight)  # type: ignore[no-any-return]


class _Narrow(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(h, weight)
        return (weight.t() @ h.t()).t().contiguous()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor):  # type: ignore[override]
        h, weight = ctx.saved_tensors
        return (
            onednn.matmul(gradient, weight.t()) if ctx.needs_input_grad[0] else None,
            (gradient.t() @ h).t().contiguous() if ctx.needs_input_grad[1] else None,
        )


class _InOnePass(torch.autograd.Function):
    """`activation(h W + b)`; the gradients are those of the plain way.

    ReLU stays apart: oneDNN's makes a zero of what is not a number, and hides that a training has diverged.
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
