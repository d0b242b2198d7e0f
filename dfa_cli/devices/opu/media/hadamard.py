"""The fast Walsh-Hadamard transform."""

from __future__ import annotations

import torch
from torch import Tensor

RADIX_BITS = 5  # the small Hadamard matrices have size 2^5 = 32


def transform(x: Tensor) -> Tensor:
    """Compute `x @ H_n` for each row of `x` `[k, n]`, where `n` is a power of 2.

    `H_n` is the Hadamard matrix with entries +-1, in Sylvester's order. It is a Kronecker product of small Hadamard
    matrices. With factors of size 32, a transform of size 2^20 takes 4 passes over memory, each a matrix product.
    The usual additions and subtractions would take 20.

    Raises `ValueError` when `n` is not a power of 2.
    """
    k, n = x.shape
    if n & (n - 1):
        raise ValueError(f"The size of a Walsh-Hadamard transform must be a power of 2, not {n}.")
    bits = n.bit_length() - 1
    inner = 1
    while bits:
        step = min(bits, RADIX_BITS)
        bits -= step
        factor = _sylvester_matrix(step, x)
        x = (x.view(-1, 1 << step) @ factor) if inner == 1 else factor @ x.view(-1, 1 << step, inner)
        inner <<= step
    return x.reshape(k, n)


def _sylvester_matrix(bits: int, like: Tensor) -> Tensor:
    h = like.new_ones(1, 1)
    for _ in range(bits):
        h = torch.cat([torch.cat([h, h], 1), torch.cat([h, -h], 1)])
    return h
