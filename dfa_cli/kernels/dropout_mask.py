"""The mask of dropout, from a quarter of the random numbers.

The plain torch line is `torch.empty_like(h).bernoulli_(1 - p, generator=generator).div_(1 - p)`: the same
distribution, other draws.
"""

from __future__ import annotations

import torch
from torch import Tensor


def dropout_mask(like: Tensor, p: float, generator: torch.Generator | None) -> Tensor:
    """`1 / (1 - p)` where an entry is kept, else 0, of the shape and type of `like`.

    Each random number of 64 bits gives four draws of 16 bits, since the generator is what costs. `p` is met to within
    2^-17; above 1 - 2^-16 it counts as that.
    """
    draws = torch.empty((like.numel() + 3) // 4, dtype=torch.int64, device=like.device)
    draws.random_(-(2**63), None, generator=generator)
    kept = draws.view(torch.int16)[: like.numel()] >= min(round(p * 2**16), 2**16 - 1) - 2**15
    return kept.view(like.shape).to(like.dtype).mul_(1.0 / (1.0 - p))
