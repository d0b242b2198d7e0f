"""Normal random numbers from a quarter of the usual random bits.

The plain torch line is `torch.empty(shape).normal_(generator=generator)`. The distribution is the same to within what
16 bits can tell, but a generator in the same state gives different numbers.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

LEVELS = 2**16


def normal_like(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw standard normal numbers of the shape of `like`, float32.

    The random generator takes most of the time, so on a CPU each of its 64-bit numbers is split into four draws of 16
    bits. A draw chooses one of 65,536 values that are equally likely (`quantiles`).
    """
    if like.is_cuda:  # where random bits cost little
        return torch.empty_like(like, dtype=torch.float32).normal_(generator=generator)
    draws = torch.empty((like.numel() + 3) // 4, dtype=torch.int64)
    draws.random_(-(2**63), None, generator=generator)
    chosen = draws.view(torch.uint16)[: like.numel()].to(torch.int32)
    return quantiles().index_select(0, chosen).view(like.shape)


@functools.cache
def quantiles() -> Tensor:
    """Return 65,536 equally likely values with the mean 0 and the variance 1 of a standard normal number.

        z_k = c Phi^-1((k + 1/2) / 65536),   k = 0 .. 65535

    `Phi` is the distribution function, and `c` brings the variance to 1; it is 1.00001. The distribution
    function of `z` differs from `Phi` by less than 2^-16. The largest `|z|` is 4.32.
    """
    upper = torch.special.ndtri((torch.arange(LEVELS // 2, LEVELS, dtype=torch.float64) + 0.5) / LEVELS)
    z = torch.cat([-upper.flip(0), upper])
    return (z / math.sqrt(float(z.square().mean()))).float()
