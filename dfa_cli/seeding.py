"""Derives independent random streams from one seed.

Everything that needs random numbers (weights, data order, dropout, feedback matrix, optical noise, ...) has a stream
of its own, named after its purpose. To switch one of them on or off leaves the random numbers of the others unchanged.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

# How random numbers are divided among streams. Records state it; those that do not are of 1, with one stream for the
# dropout of all blocks, and one for all noise of an optical device. In 2 each block has streams of its own. In 3 a
# normal number of optical noise takes 16 random bits. In 4 each row of a large reading has a stream of its own.
STREAMS = 4


def stream_seed(seed: int, name: str) -> int:
    """Compute the seed of the stream `name`: the first 63 bits of SHA-256 of `"{seed}/{name}"`.

    Python's own `hash` differs from process to process. If stream k had the seed `seed + k`, stream k of seed s
    would equal stream k - 1 of seed s + 1. A cryptographic hash has neither fault.
    """
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, name: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a new `torch.Generator` on `device`, at the start of the stream `name`."""
    import torch

    return torch.Generator(device=device).manual_seed(stream_seed(seed, name))
