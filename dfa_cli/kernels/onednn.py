"""Matrix products by oneDNN on processors where torch would use a slower library.

The plain torch lines are `torch.tanh(h @ W + b)` for `linear` and `a @ b` for `matmul`.
In float32 torch multiplies with MKL, which takes up to a third longer on an AMD EPYC. On an Intel Xeon with two cores
MKL takes three times as long where other programs compute too, since its threads wait for each other several times in
a product. In no type can torch's public product apply an activation in the same pass. The operator used below
multiplies with oneDNN and can apply one. torch's compiler uses this operator too.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from dfa_cli.machine.cpu import cpu_info, is_intel

# From this many rows and columns of the result on, oneDNN's fixed cost of some 15 us no longer matters.
ROWS, COLUMNS = 64, 256
# From this size on, several threads take no longer with oneDNN than with MKL on an Intel Xeon either.
SHARED_PRODUCTS, SHARED_COLUMNS = 1e8, 512


def is_faster(a: Tensor, b: Tensor) -> bool:
    """Tell whether oneDNN computes `a b` `[rows, inner] [inner, width]` faster, with or without bias and activation."""
    return (
        a.shape[0] >= ROWS
        and b.shape[1] >= COLUMNS
        and len(b) > 0
        and a.device.type == b.device.type == "cpu"
        and a.dtype == b.dtype
        and (_is_fast_type(a.dtype) or _is_shared(a, b))
    )


def linear(h: Tensor, weight: Tensor, bias: Tensor | None = None, tanh: bool = False) -> Tensor:
    """Compute `h W + b`, or its tanh, in one pass without autograd. `h` `[rows, inputs]`, `W` `[inputs, width]`."""
    activation = "tanh" if tanh else "none"
    return torch.ops.mkldnn._linear_pointwise(h, weight.t(), bias, activation, [], "")  # type: ignore[no-any-return]


def matmul(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """Compute `a b` by the faster library, without autograd. The result may take the memory of `out`."""
    return linear(a, b) if is_faster(a, b) else torch.mm(a, b, out=out)


def transpose_is_faster(h: Tensor) -> bool:
    """Tell whether a product `h W` with few columns is computed sooner as `(W^T h^T)^T`.

    MKL takes up to eight times as long on an AMD EPYC for the plain product, and on an Intel Xeon for the transposed.
    """
    return not h.is_cpu or not is_intel()


def _is_shared(a: Tensor, b: Tensor) -> bool:
    """Tell whether a product is so large that several threads share it evenly."""
    return (
        a.dtype == torch.float32
        and b.shape[1] >= SHARED_COLUMNS
        and a.numel() * b.shape[1] >= SHARED_PRODUCTS
        and torch.get_num_threads() > 1
        and _has_operator()
    )


@functools.cache
def _is_fast_type(dtype: torch.dtype) -> bool:
    instructions = torch.backends.cpu.get_cpu_capability()
    if dtype == torch.bfloat16:
        return instructions == "AVX512" and _has_operator()
    return (
        dtype == torch.float32
        and instructions in ("AVX2", "AVX512")
        and not _may_be_intel()
        and _has_operator()
    )


@functools.cache
def _has_operator() -> bool:
    """Try whether this build of torch has the operator with these arguments. It is not part of the public API."""
    unit = torch.ones(1, 1)
    try:
        return bool(torch.allclose(linear(unit, unit, tanh=True), torch.tanh(unit)))
    except (AttributeError, RuntimeError, TypeError):
        return False


def _may_be_intel() -> bool:
    """Tell whether the processor is Intel's, or of a maker that the system does not name."""
    info = cpu_info()
    return info is None or "GenuineIntel" in info
