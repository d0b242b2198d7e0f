"""Products on a processor by oneDNN, where torch would take a slower library.

The plain torch lines are `torch.tanh(h @ W + b)` for `linear` and `a @ b` for `matmul`.
In float32 torch multiplies with MKL, which on an AMD EPYC takes up to a third longer; in either type the bare product
of torch's interface has no place for an activation. torch's own compiler reaches both through the operator below.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from dfa_cli.machine.cpu import cpu_info

# rows and columns of a result from which oneDNN's fixed cost, some 15 us, no longer shows
ROWS, COLUMNS = 64, 256


def serves(a: Tensor, b: Tensor) -> bool:
    """Whether oneDNN is the faster way to `a b` `[rows, inner] [inner, width]`, a bias and an activation included."""
    return (
        a.shape[0] >= ROWS
        and b.shape[1] >= COLUMNS
        and len(b) > 0
        and a.device.type == b.device.type == "cpu"
        and a.dtype == b.dtype
        and _fast_in(a.dtype)
    )


def linear(h: Tensor, weight: Tensor, bias: Tensor | None = None, tanh: bool = False) -> Tensor:
    """`h W + b`, or `tanh` of it, in one pass; nothing for autograd. `h` `[rows, inputs]`, `W` `[inputs, width]`."""
    activation = "tanh" if tanh else "none"
    return torch.ops.mkldnn._linear_pointwise(h, weight.t(), bias, activation, [], "")  # type: ignore[no-any-return]


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """`a b` by the faster library; nothing for autograd."""
    return linear(a, b) if serves(a, b) else a @ b


@functools.cache
def _fast_in(dtype: torch.dtype) -> bool:
    instructions = torch.backends.cpu.get_cpu_capability()
    if dtype == torch.bfloat16:
        return instructions == "AVX512" and _has_operator()
    return dtype == torch.float32 and instructions in ("AVX2", "AVX512") and not _intel() and _has_operator()


@functools.cache
def _has_operator() -> bool:
    """It is none of torch's public ones: whether this build has it, and with these arguments, is tried."""
    one = torch.ones(1, 1)
    try:
        return bool(torch.allclose(linear(one, one, tanh=True), torch.tanh(one)))
    except (AttributeError, RuntimeError, TypeError):
        return False


def _intel() -> bool:
    """`True` where the system does not tell."""
    info = cpu_info()
    return info is None or "GenuineIntel" in info
