"""Chooses how many threads torch uses in a run, by what a training step costs with one thread and with several."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import torch

from dfa_cli.data.base import Data
from dfa_cli.machine.cpu import quota
from dfa_cli.models.base import Block, Model
from dfa_cli.models.fully_connected import Linear
from dfa_cli.models.graph_convolutional import GraphConvolution
from dfa_cli.models.graph_network import Convolution

# What a thread computes in a second, between small products and large ones, which a core of a Xeon or an EPYC computes
# at 40 to 140 times 10^9.
OPERATIONS_A_SECOND = 70e9
# A step has about so many operations in each block that are divided among threads. Each time the others are woken and
# waited for, in two turns for four threads, and so on.
DIVIDED_OPERATIONS, WAKING_SECONDS = 12, 10e-6
# More threads are taken only if they save more than this part of the time. Where they save little, they lose much when
# other programs use the cores.
WORTH = 0.1
PASSES = 3  # forward, for the gradient of the weights, and for the gradient of the input


def threads_for(config: Mapping[str, Any], model: Model, data: Data) -> int:
    """Return `config["threads"]`, or the least number of threads with which a step takes nearly the shortest time.

        seconds(t) = operations / (t OPERATIONS_A_SECOND) + blocks DIVIDED_OPERATIONS WAKING_SECONDS log2(t)

    Only the work is counted, and the processors that this process may use, never the load of the machine. So the same
    configuration has the same number on the same machine, and with it the same bits. A process of a parallel run gets
    one thread. Of layers that are not ours nobody knows the work, and they get all threads.
    """
    share = process_threads()  # Called in any case: the number has to be read before a run changes it.
    if config["threads"]:
        return config["threads"]
    if config["parallel"]:
        return 1
    work = operations(model, data, config["batch_size"])
    return share if work is None else best_threads(work, len(model.blocks), share)


def best_threads(work: float, blocks: int, share: int) -> int:
    """Choose from 1, 2, 4 ... and `share` for a step of so many operations in so many blocks."""
    waking = blocks * DIVIDED_OPERATIONS * WAKING_SECONDS
    choices = sorted({2**i for i in range(share.bit_length())} | {share})
    seconds = {t: work / (t * OPERATIONS_A_SECOND) + waking * math.log2(t) for t in choices}
    return next(t for t in choices if seconds[t] * (1 - WORTH) <= min(seconds.values()))


def operations(model: Model, data: Data, batch_size: int | None) -> float | None:
    """Count the floating-point operations of a training step; `None` for a model with layers that are not ours."""
    rows = len(data.y)
    if data.edge_index is None:
        rows = min(batch_size or len(data.train), len(data.train))
    edges = 0 if data.edge_index is None else data.edge_index.shape[1] + len(data.y)
    total = 0.0
    for number, block in enumerate(model.blocks):
        layer = getattr(block, "layer", None)
        if not isinstance(block, Block) or not isinstance(layer, (Linear, GraphConvolution, Convolution)):
            return None
        weights = sum(weight.numel() for weight in layer.parameters() if weight.dim() > 1)
        products = rows * weights
        if number == 0 and data.x.layout == torch.sparse_csr and not isinstance(layer, Convolution):
            products = data.x.values().numel() * block.width
        neighbours = 0 if isinstance(layer, Linear) else edges * block.width
        total += 2 * PASSES * (products + neighbours)
    return total


@functools.cache
def process_threads() -> int:
    """Return this process's share of the cores.

    It is torch's number of threads before any run has changed it, but not more than the quota of a container allows.
    torch takes `OMP_NUM_THREADS`, or the cores on which the system lets this process run.
    """
    allowed = quota()
    return min(torch.get_num_threads(), max(1, round(allowed)) if allowed else torch.get_num_threads())
