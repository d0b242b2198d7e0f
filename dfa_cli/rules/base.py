"""The interface of a training rule, and the loss and error from which all rules start."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from dfa_cli.devices.base import ProjectionDevice
from dfa_cli.errors import DfaError
from dfa_cli.kernels.softmax import favoured, log_softmax
from dfa_cli.models.base import Model
from dfa_cli.models.batch import Batch

KEEP, RECOMPUTE = "keep", "recompute"  # the values of the key `activations`


class Step(NamedTuple):
    """The result of one training step, as two scalar tensors.

    `loss`: the mean over the labelled rows. `correct`: the number of labelled rows that were classified correctly.
    """

    loss: Tensor
    correct: Tensor


@runtime_checkable
class LearningRule(Protocol):
    """The interface of a training rule: it fills `.grad` of the parameters, and a torch optimizer takes the step.

    A parameter that the rule does not train keeps `grad = None`, and the optimizer skips it. A rule that never trains
    a hidden block may set `last_block_only = True`. The outputs of the hidden blocks are then computed only once.
    """

    def prepare(self, model: Model, classes: int, device: ProjectionDevice, compute: torch.device) -> None:
        """Fix the feedback matrices, if the rule has any. This is called once, before training.

        `device` projects the error. `compute` is the torch device that trains.
        """
        ...

    def backward(self, model: Model, batch: Batch) -> Step:
        """Run the forward pass and the rule's own backward pass, and leave the gradients in `.grad`."""
        ...


@runtime_checkable
class CanRecompute(Protocol):
    """An optional part of a rule: it can compute activations a second time instead of holding them.

    `activations`: `keep`, or `recompute`, for memory that grows slowly or not at all with the number of blocks. The
    gradients, and the states of all generators after the step, are the same bit for bit.
    """

    activations: str


@runtime_checkable
class HasFeedbackMatrices(Protocol):
    """An optional part of a rule: a fixed feedback matrix for each hidden block.

    The alignment of these matrices with the forward weights can be measured.
    """

    def feedback_matrices(self) -> list[Tensor]:
        """Return `B_i` `[classes, width_i]` of each hidden block, in order."""
        ...


@runtime_checkable
class Stateful(Protocol):
    """An object whose tensors change from step to step and are saved in checkpoints.

    Every model and every device is such an object. A rule may be one.
    """

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state: dict[str, Tensor]) -> Any: ...


@runtime_checkable
class HasGenerators(Protocol):
    """An optional part of a rule: generators from which `backward` draws, so that a recorded step draws on."""

    def generators(self) -> Iterable[torch.Generator]: ...


def require_chain(model: Model) -> None:
    """Raise `DfaError` for a model that may do more than call its blocks, for rules that go from block to block."""
    if type(model).forward is not Model.forward:
        raise DfaError(
            f"{type(model).__name__} has a `forward` of its own, which is evaluated. The rule calls one block after "
            "another, so it would train another network. Put what `forward` does into the layers of the blocks, or use "
            "rule=bp."
        )


def cross_entropy(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the cross-entropy loss and the error, which is the gradient of the loss with respect to the logits.

    The loss is `-1/n sum_r log p[r, y_r]` with `p = softmax(logits)`; the error is `e = (p - onehot(y)) / n`
    `[n, classes]`.
    """
    log_p = log_softmax(logits)
    at_target = targets.unsqueeze(1)
    loss = log_p.gather(1, at_target).sum().div_(-len(targets))
    error = log_p.exp()
    error.scatter_add_(1, at_target, torch.full_like(at_target, -1, dtype=error.dtype))
    return loss, error.div_(len(targets))


def loss_and_error(logits: Tensor, targets: Tensor) -> tuple[Step, Tensor]:
    """Compute the loss, the number of correct rows and the error `[labelled, classes]` of the labelled rows.

    Nothing is recorded for autograd.
    """
    logits = logits.detach()
    loss, error = cross_entropy(logits, targets)
    return Step(loss, (favoured(logits) == targets).sum()), error


def labelled_rows(values: Tensor, batch: Batch) -> Tensor:
    """Take the labelled rows `[labelled, width]` out of all rows `[rows, width]`."""
    return values if batch.rows is None else values.index_select(0, batch.rows)


def scatter_to_rows(values: Tensor, batch: Batch, rows: int) -> Tensor:
    """Put the labelled rows `[labelled, width]` in their places among all rows `[rows, width]`; the others are zero."""
    if batch.rows is None:
        return values
    return values.new_zeros(rows, values.shape[1]).index_copy_(0, batch.rows, values)
