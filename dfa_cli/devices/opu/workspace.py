"""Keeps scratch memory from one call to the next."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Workspace:
    """Gives scratch tensors by name, and reuses their memory at the next call.

    A new tensor of some megabytes costs more in page faults than the arithmetic on it. The next call with the same
    name overwrites the tensor, so use it for intermediate results only.
    """

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def tensor(self, name: str, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """Return an uninitialised float32 tensor of `shape`."""
        size = math.prod(shape)
        held = self._held.get(name)
        if held is None or len(held) < size or held.device != device:
            held = self._held[name] = torch.empty(size, device=device)
        return held[:size].view(shape)
