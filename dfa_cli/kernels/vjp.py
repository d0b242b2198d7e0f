"""Vector-Jacobian products of several outputs at once.

The plain torch line is `torch.autograd.backward(outputs, signals)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def accumulate_vjps(outputs: Sequence[Tensor], signals: Sequence[Tensor]) -> None:
    """Accumulate `sum_i J_i^T s_i` in the parameters, `J_i` the Jacobian of output `i` and `s_i` the signal at it.

    `torch.autograd.backward`, when it is given signals, imports a library of symbolic algebra to compare their shapes:
    a third of a second in every process.
    """
    _VJPSum.apply(len(outputs), *outputs, *signals).backward()  # type: ignore[no-untyped-call]


class _VJPSum(torch.autograd.Function):
    """A scalar whose gradient with respect to each output is the signal at it."""

    @staticmethod
    def forward(ctx: Any, count: int, *values: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(*values[count:])
        return values[count].new_zeros(())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor):  # type: ignore[override]
        signals = ctx.saved_tensors
        return None, *signals, *(None for _ in signals)
