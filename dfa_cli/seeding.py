"""One seed in, separate random streams out.

Every consumer of randomness (weights, data order, dropout, feedback matrix, optical noise, ...) owns a stream named
after what it is for, so that switching one of them on or off leaves the others as they were.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def stream_seed(seed: int, name: str) -> int:
    """The seed of the stream `name`: the first 63 bits of SHA-256 of `"{seed}/{name}"`.

    Python's own `hash` differs from process to process, and `seed + 1` would make stream k of seed s equal to
    stream k - 1 of seed s + 1; a cryptographic hash does neither.
    """
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, name: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh `torch.Generator` on `device` at the start of the stream `name`."""
    import torch

    return torch.Generator(device=device).manual_seed(stream_seed(seed, name))
