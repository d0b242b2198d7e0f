"""Dropout masks from a quarter of the usual random numbers.

The plain torch line is `torch.empty_like(h).bernoulli_(1 - p, generator=generator).div_(1 - p)`. The distribution is
the same, but a generator in the same state gives different masks.
"""

from __future__ import annotations

import torch
from torch import Tensor


def dropout_mask(like: Tensor, p: float, generator: torch.Generator | None) -> Tensor:
    """Draw a dropout mask of the shape and type of `like`: `1 / (1 - p)` where an entry is kept, else 0.

    The random generator takes most of the time, so each of its 64-bit numbers is split into four draws of 16 bits.
    The probability of dropping an entry equals `p` to within 2^-17, and is at most 1 - 2^-16.
    """
    draws = torch.empty((like.numel() + 3) // 4, dtype=torch.int64, device=like.device)
    draws.random_(-(2**63), None, generator=generator)
    # The draws of 16 bits are uniform from -2^15 to 2^15 - 1. float32 holds them exactly, and is compared faster.
    kept = (
        draws.view(torch.int16)[: like.numel()]
        .to(torch.float32)
        .ge_(min(round(p * 2**16), 2**16 - 1) - 2**15)
    )
    return kept.view(like.shape).to(like.dtype).mul_(1.0 / (1.0 - p))
