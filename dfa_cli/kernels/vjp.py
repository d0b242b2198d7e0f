"""The vector-Jacobian product (VJP) of one output.

The plain torch line is `torch.autograd.backward(output, signal)`.
"""

from __future__ import annotations

import torch
from torch import Tensor

_ENGINE = torch.autograd.Variable._execution_engine  # type: ignore[attr-defined]


def accumulate_vjp(output: Tensor, signal: Tensor) -> None:
    """Pass `signal` back from `output`, and add `J^T signal` to `.grad` of the parameters. This frees the graph.

    `J` is the Jacobian of the output. An output without parameters below it adds nothing. The numbers are those of
    `torch.autograd.backward(output, signal)`. That function imports sympy to compare shapes, which costs every process
    a third of a second. The engine that it calls does not.
    """
    if output.requires_grad:
        # retain_graph=False, create_graph=False, inputs=()
        _ENGINE.run_backward(
            (output,), (signal,), False, False, (), allow_unreachable=True, accumulate_grad=True
        )
