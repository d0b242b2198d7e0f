"""Records what a function does to tensors, as a CUDA graph: one launch in place of some hundred."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

T = TypeVar("T")


@dataclass
class Recording(Generic[T]):
    """What a function has done to tensors.

    `replay` does it again, in the same memory, and leaves the results in `output`. `inputs` are the tensors from
    outside that the function has used: a graph knows only addresses, so they must not be freed.
    """

    output: T
    replay: Callable[[], None]
    inputs: Sequence[Tensor]


class Recorder(Protocol):
    """Records functions without arguments."""

    def is_broken(self) -> bool:
        """Tell whether a record has failed. From then on none is made or replayed any more."""
        ...

    def no_waiting(self) -> AbstractContextManager[None]:
        """Raise an error within the `with` block where Python would wait for a number of the accelerator."""
        ...

    def record(self, function: Callable[[], T], generators: Sequence[torch.Generator]) -> Recording[T]:
        """Record the function, which may run for this. A replay draws on from where the `generators` then are."""
        ...


class CudaGraphs:
    """Records CUDA graphs."""

    # A capture that failed leaves torch's allocator behind with an address of its graph. Before torch 2.14 it also
    # leaves the generators in a state in which the replay of an earlier graph raises an error.
    failed: ClassVar[list[torch.cuda.CUDAGraph]] = []

    def is_broken(self) -> bool:
        return bool(self.failed)

    @contextmanager
    def no_waiting(self) -> Iterator[None]:
        mode = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*debug mode is a prototype")
            torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(mode)

    def record(self, function: Callable[[], T], generators: Sequence[torch.Generator]) -> Recording[T]:
        if self.is_broken():
            raise RuntimeError("an earlier capture has failed in this process")
        graph, used, stream = torch.cuda.CUDAGraph(), Used(), torch.cuda.current_stream()
        drawn = [generator for generator in generators if generator.device.type == "cuda"]
        # From 2.14 on torch finds the generators itself, and this would warn. torch compares versions here, not text.
        if torch.__version__ < "2.14":
            for generator in drawn:
                graph.register_generator_state(generator)
        try:
            with _no_collection(), torch.cuda.graph(graph), used:
                output = function()
        except BaseException:
            self.failed.append(graph)
            torch.cuda.set_stream(stream)
            for generator in drawn:  # Each would wait for the end of the capture for ever.
                generator.graphsafe_set_state(torch.Generator(generator.device))
            raise
        return Recording(output, graph.replay, used.tensors)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python from freeing a graph of an earlier run within the block: that would spoil a capture."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Used(TorchDispatchMode):
    """Collects, within a `with` block, the tensors from outside the block that are used."""

    def __init__(self) -> None:
        super().__init__()
        self.tensors: list[Tensor] = []
        self._known: set[int] = set()  # the memory of these tensors, and of those that were made in the block

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for memory, tensor in _memories((args, kwargs)):
            if memory not in self._known:
                self.tensors.append(tensor)
                self._known.add(memory)
        out = operator(*args, **(kwargs or {}))
        self._known.update(memory for memory, _ in _memories(out))
        return out


def _memories(values: Any) -> Iterator[tuple[int, Tensor]]:
    """Yield the tensors among `values`, and the parts of those that are sparse, with a number for their memory."""
    for value in tree_leaves(values):
        if not isinstance(value, Tensor):
            continue
        parts: tuple[Tensor, ...] = (value,)
        if value.layout == torch.sparse_csr:
            parts = value.crow_indices(), value.col_indices(), value.values()
        elif value.layout == torch.sparse_coo:
            parts = value._indices(), value._values()
        yield from ((part.untyped_storage()._cdata, part) for part in parts)
