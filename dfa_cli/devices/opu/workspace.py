"""Scratch memory that is kept from call to call."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Workspace:
    """Tensors by name, for intermediate results only: what a name held is overwritten at the next call.

    A fresh tensor of some megabytes costs more in page faults than the arithmetic on it.
    """

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def tensor(self, name: str, shape: tuple[int, ...], device: torch.device) -> Tensor:
        """An uninitialised float32 tensor of `shape`."""
        size = math.prod(shape)
        held = self._held.get(name)
        if held is None or len(held) < size or held.device != device:
            held = self._held[name] = torch.empty(size, device=device)
        return held[:size].view(shape)
