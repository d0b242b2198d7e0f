"""Elementwise activation functions and their derivatives.

The plain torch lines are `torch.tanh(z)` and `torch.relu(z)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Activation = Callable[[Tensor], Tensor]


def tanh(z: Tensor) -> Tensor:
    """Compute the hyperbolic tangent of each entry."""
    if z.dtype == torch.bfloat16 and not z.is_cuda:
        return _TanhOfBFloat16.apply(z)  # type: ignore[no-any-return]
    return torch.tanh(z)


class _TanhOfBFloat16(torch.autograd.Function):
    """Computes the numbers of `torch.tanh`, whose loop over bfloat16 takes three times as long on some CPUs."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:  # type: ignore[override]
        h = z.float().tanh_().to(z.dtype)
        ctx.save_for_backward(h)
        return h

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (h,) = ctx.saved_tensors
        return torch.ops.aten.tanh_backward.default(gradient, h)


ACTIVATIONS: dict[str, Activation] = {"tanh": tanh, "relu": torch.relu}

# The same functions, computed in the memory of `z`. The numbers are the same.
IN_PLACE: dict[Activation, Activation] = {tanh: torch.tanh_, torch.relu: torch.relu_}

# Each function computes `dL/dz` from `dL/dh` and from the output `h = activation(z)`.
DERIVATIVES: dict[Activation, Callable[[Tensor, Tensor], Tensor]] = {
    tanh: torch.ops.aten.tanh_backward.default,
    torch.relu: lambda gradient, h: torch.ops.aten.threshold_backward.default(gradient, h, 0),
}
