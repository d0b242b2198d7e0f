"""The fast Walsh-Hadamard transform."""

from __future__ import annotations

import torch
from torch import Tensor

RADIX_BITS = 5


def transform(x: Tensor) -> Tensor:
    """`x @ H_n` for each row of `x` `[k, n]`, `n` a power of 2, with `H_n` of entries +-1 (Sylvester's
    order).

    `H_n` is a Kronecker product of small ones. With factors of 32 a transform of 2^20 takes 4 passes over
    memory, each a matrix product, in place of the 20 of additions and subtractions. Raises `ValueError` for
    another `n`.
    """
    k, n = x.shape
    if n & (n - 1):
        raise ValueError(f"a Walsh-Hadamard transform needs a power of 2, not {n}")
    bits = n.bit_length() - 1
    inner = 1
    while bits:
        step = min(bits, RADIX_BITS)
        bits -= step
        factor = _matrix(step, x)
        x = (x.view(-1, 1 << step) @ factor) if inner == 1 else factor @ x.view(-1, 1 << step, inner)
        inner <<= step
    return x.reshape(k, n)


def _matrix(bits: int, like: Tensor) -> Tensor:
    h = like.new_ones(1, 1)
    for _ in range(bits):
        h = torch.cat([torch.cat([h, h], 1), torch.cat([h, -h], 1)])
    return h
