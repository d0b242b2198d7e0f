"""Divides the blocks of a model into consecutive chunks of about equal cost."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from dfa_cli.errors import DfaError
from dfa_cli.kernels.vjp import accumulate_vjp
from dfa_cli.models.base import Model
from dfa_cli.models.batch import Batch
from dfa_cli.models.forward_state import ForwardState

REPETITIONS = 5


def chunks_of(sizes: Sequence[int], blocks: int) -> list[range]:
    """Return the chunks with these numbers of blocks. Raises `DfaError` unless they add up to all blocks."""
    if sum(sizes) != blocks:
        raise DfaError(
            f"parallel.split is {list(sizes)}. Its numbers must add up to {blocks}, the number of blocks of the model."
        )
    stops = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return [range(stop - size, stop) for stop, size in zip(stops, sizes, strict=True)]


def even_sizes(costs: Sequence[float], chunks: int) -> list[int]:
    """Return how many blocks each chunk gets, so that the most expensive chunk is as cheap as possible."""

    @functools.cache
    def best(first: int, chunks: int) -> tuple[float, tuple[int, ...]]:
        """Return the cost of the most expensive chunk when the blocks from `first` on are divided, and the sizes."""
        if chunks == 1:
            return sum(costs[first:]), (len(costs) - first,)
        options = []
        for size in range(1, len(costs) - first - chunks + 2):
            cost, sizes = best(first + size, chunks - 1)
            options.append((max(sum(costs[first : first + size]), cost), (size, *sizes)))
        return min(options)

    return list(best(0, chunks)[1])


def measure_costs(model: Model, batch: Batch) -> list[float]:
    """Measure the seconds that each block takes for its output and its weight gradient.

    The model and all generators are left as they were. The gradients are set to `None`.
    """
    seconds: list[list[float]] = []
    for _ in range(REPETITIONS):
        with ForwardState(model, batch.y.device).again():
            h = batch.x
            seconds.append([])
            for block in model.blocks:
                began = time.perf_counter()
                output: Tensor = block(h.detach() if isinstance(h, Tensor) else h, batch.graph)
                h = output.detach()
                accumulate_vjp(output, torch.ones_like(h))
                if h.is_cuda:
                    torch.cuda.synchronize()
                seconds[-1].append(time.perf_counter() - began)
    model.zero_grad(set_to_none=True)
    return [statistics.median(block) for block in zip(*seconds, strict=True)]
