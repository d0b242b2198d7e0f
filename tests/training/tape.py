"""Records on a CPU what a CUDA graph records on a card: operations with the memory that they read and write.

A replay runs the same operations on the same memory, and no line of Python between them. So it shows what a graph would
show: a number that Python had put into an operation, a state that has moved to another tensor, a generator that nobody
advances.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from dfa_cli.training.cuda_graphs import Recording, Used

T = TypeVar("T")

# Operations whose result, or its shape, has to be known in Python. On CUDA each waits for the card.
READS = ("_local_scalar_dense", "equal", "nonzero", "masked_select", "_unique2", "unique_dim", "bincount")
# Operations that change how a tensor sees its memory, which the tape notes at each operation anyway.
ON_THE_SIGHT_ALONE = ("resize_", "unsqueeze_", "squeeze_", "t_", "transpose_", "detach_")


def tensors_in(values: Any) -> list[Tensor]:
    return [value for value in tree_leaves(values) if isinstance(value, Tensor)]


def memory_of(values: Any) -> set[int]:
    parts = [t.values() if t.layout == torch.sparse_csr else t for t in tensors_in(values)]
    return {part.untyped_storage()._cdata for part in parts}


def id_of(generator: torch.Generator) -> int:
    """An operation is handed another object of Python than the one it was called with."""
    return generator._cdata  # pyright: ignore[reportAttributeAccessIssue]


class NoReads(TorchDispatchMode):
    """Raises an error where Python reads a number of the tensors."""

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = operator.overloadpacket.__name__
        by_truth = name == "index" and any(t.dtype in (torch.bool, torch.uint8) for t in tensors_in(args[1]))
        if name in READS or by_truth:
            raise RuntimeError(f"{name} waits for the card")
        return operator(*args, **(kwargs or {}))


class Tape(NoReads):
    def __init__(self, generators: Sequence[torch.Generator]):
        super().__init__()
        self.generators = {id_of(one) for one in (torch.default_generator, *generators)}
        self.operations: list[tuple[Callable[..., Any], Any, Any, list[Tensor | None]]] = []

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        drawn = [id_of(value) for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Generator)]
        if not self.generators.issuperset(drawn):
            raise RuntimeError("a generator is not registered with the graph")
        seen = tree_map(lambda value: value.detach() if isinstance(value, Tensor) else value, (args, kwargs))
        before = memory_of(seen)
        out = super().__torch_dispatch__(operator, types, args, kwargs)
        # What an operation has made is written there again; what it has changed in place, it changes again.
        made = [None if memory_of(t) <= before else t.detach() for t in tensors_in(out)]
        if operator.overloadpacket.__name__ not in ON_THE_SIGHT_ALONE:
            self.operations.append((operator, *seen, made))
        return out

    @torch.no_grad()
    def replay(self) -> None:
        for operator, args, kwargs, made in self.operations:
            for new, old in zip(tensors_in(operator(*args, **kwargs)), made, strict=True):
                if old is not None:
                    old.copy_(new)


class CpuGraphs:
    """Takes the place of `CudaGraphs`."""

    broken = False

    def is_broken(self) -> bool:
        return self.broken

    def no_waiting(self) -> AbstractContextManager[Any]:
        return NoReads()

    def record(self, function: Callable[[], T], generators: Sequence[torch.Generator]) -> Recording[T]:
        tape = Tape(generators)
        with tape, Used() as used:
            output = function()
        return Recording(output, tape.replay, used.tensors)
