"""What a forward pass changes besides its output, so that a pass can be computed a second time with the same result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def generators(module: nn.Module) -> dict[str, torch.Generator]:
    """Return every generator that `module` or a module inside it holds, by its dotted name."""
    return {
        f"{name}.{attribute}".lstrip("."): value
        for name, inner in module.named_modules()
        for attribute, value in vars(inner).items()
        if isinstance(value, torch.Generator)
    }


class ForwardState:
    """The generators and buffers of `module` as they are now, and torch's global generators.

    A layer may draw from any of these generators. Buffers are changed by layers such as batch normalisation (its
    averages) and spectral normalisation (its vectors). `device` is the device that computes.
    """

    def __init__(self, module: nn.Module, device: torch.device):
        self._generators = {held: held.get_state() for held in generators(module).values()}
        self._buffers = {
            (inner, name): buffer.clone()
            for inner in module.modules()
            for name, buffer in inner.named_buffers(recurse=False)
        }
        self._global = {library: library.get_rng_state() for library in _libraries(device)}

    @contextmanager
    def again(self) -> Iterator[None]:
        """Put everything back for the block. After the block everything is as it was before the block."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        """Exchange the state that is held and the present one. A deep model has many generators, so none is copied."""
        for held, state in self._generators.items():
            self._generators[held] = held.get_state()
            held.set_state(state)
        for (inner, name), buffer in self._buffers.items():
            self._buffers[inner, name] = getattr(inner, name)
            setattr(inner, name, buffer)
        for library, state in self._global.items():
            self._global[library] = library.get_rng_state()
            library.set_rng_state(state)


def _libraries(device: torch.device) -> list:
    """Return the modules of torch that keep the global generators from which a layer on `device` may draw."""
    return [torch.random] if device.type == "cpu" else [torch.random, torch.get_device_module(device)]
