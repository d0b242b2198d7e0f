"""Vector-Jacobian products (VJPs) of several outputs at once.

The plain torch line is `torch.autograd.backward(outputs, signals)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def accumulate_vjps(outputs: Sequence[Tensor], signals: Sequence[Tensor]) -> None:
    """Pass each signal back from its output and add the results to `.grad` of the parameters.

    The sum is `sum_i J_i^T s_i`, with `J_i` the Jacobian of output `i` and `s_i` the signal at that output. The numbers
    are those of `torch.autograd.backward(outputs, signals)`. That function imports sympy to compare shapes, which costs
    every process a third of a second.
    """
    _VJPSum.apply(len(outputs), *outputs, *signals).backward()  # type: ignore[no-untyped-call]


class _VJPSum(torch.autograd.Function):
    """Computes a zero whose backward pass hands each output its signal."""

    @staticmethod
    def forward(ctx: Any, count: int, *values: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(*values[count:])
        return values[count].new_zeros(())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor):  # type: ignore[override]
        signals = ctx.saved_tensors
        return None, *signals, *(None for _ in signals)
