"""Counts the bytes of the tensors that are alive, as torch makes and frees them."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveMemory(TorchDispatchMode):
    """Within the block, `peak` is the most bytes that tensors made in the block have held at once."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self.live = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {leaf.untyped_storage()._cdata for leaf in _dense((args, kwargs))}
        for leaf in _dense(out):
            storage = leaf.untyped_storage()
            key = storage._cdata
            if key not in self._sizes:
                if key in given:
                    continue  # made before the block
                weakref.finalize(storage, self._freed, key)
            self.live += storage.nbytes() - self._sizes.get(key, 0)  # a storage may have grown
            self._sizes[key] = storage.nbytes()
            self.peak = max(self.peak, self.live)
        return out

    def _freed(self, key: int) -> None:
        self.live -= self._sizes.pop(key, 0)


def _dense(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if torch.is_tensor(leaf) and leaf.layout == torch.strided]
