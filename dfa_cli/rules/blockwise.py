"""The training step of rules whose blocks learn from signals of their own, without gradients from other blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from dfa_cli.kernels.sparse import SparseMatrix
from dfa_cli.kernels.vjp import accumulate_vjp
from dfa_cli.models.base import Model
from dfa_cli.models.batch import Batch
from dfa_cli.models.forward_state import ForwardState
from dfa_cli.rules.base import KEEP, Step, loss_and_error

# Maps the error `[labelled, classes]`, the batch and its number of rows to the signal `[rows, width_i]` of each hidden
# block, in order. A signal is computed when it is asked for, and valid until the next is asked for.
Signals = Callable[[Tensor, Batch, int], Iterator[Tensor]]


@runtime_checkable
class HasFeedback(Protocol):
    """A rule that gives each hidden block a signal of its own, from nothing but the error and the labels."""

    activations: str

    def feedback(
        self, error: Tensor, batch: Batch, rows: int, blocks: Sequence[int] | None = None
    ) -> Iterator[Tensor]:
        """Yield the signal `[rows, width_i]` of each of these hidden blocks, in this order; `None`: of all."""
        ...


def train_blocks(model: Model, batch: Batch, signals: Signals, activations: str) -> Step:
    """Give every hidden block the vector-Jacobian product of its own function at its signal, and the last its true one.

    `keep`: the outputs and the graphs of all blocks are held until the error is known. Each is freed as soon as the
    gradient of its block is taken.
    `recompute`: a first pass without graphs gives the error. A second pass computes one block after another again, with
    the same random numbers, and frees it before the next. The memory does not depend on the number of blocks, and the
    gradients have the same bits.
    """
    return (_keep if activations == KEEP else _recompute)(model, batch, signals)


def _keep(model: Model, batch: Batch, signals: Signals) -> Step:
    outputs: list[Tensor] = []
    h = batch.x
    for i in range(len(model.blocks)):
        h = model.output(i, _detached(h), batch)
        outputs.append(h)
    assert isinstance(h, Tensor)
    step, error = loss_and_error(h, batch.targets)
    del h
    outputs.reverse()
    hidden = signals(error, batch, len(batch.y))
    while len(outputs) > 1:
        # No name refers to the output or to the signal, so both are freed with the graph of the block.
        accumulate_vjp(outputs.pop(), next(hidden))
    accumulate_vjp(outputs.pop(), error)
    return step


def _recompute(model: Model, batch: Batch, signals: Signals) -> Step:
    before = ForwardState(model, batch.y.device)
    with torch.no_grad():
        h = batch.x
        for i in range(len(model.blocks)):
            h = model.output(i, h, batch)
    assert isinstance(h, Tensor)
    step, error = loss_and_error(h, batch.targets)
    hidden = signals(error, batch, len(batch.y))
    with before.again():
        h = batch.x
        for i in range(len(model.blocks)):
            h = model.output(i, _detached(h), batch)
            accumulate_vjp(h, next(hidden, error))
    return step


def _detached(h: Tensor | SparseMatrix) -> Tensor | SparseMatrix:
    """Return `h` outside the graph of the block below. A sparse input has no graph."""
    return h.detach() if isinstance(h, Tensor) else h
