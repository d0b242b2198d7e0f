"""What a training rule is, and the loss they all start from."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from dfa_cli.devices.base import ProjectionDevice
from dfa_cli.models.base import Model
from dfa_cli.models.batch import Batch


class Step(NamedTuple):
    """`loss`: scalar, mean over the labelled rows; `correct`: how many of them the logits got right, scalar."""

    loss: Tensor
    correct: Tensor


@runtime_checkable
class LearningRule(Protocol):
    """Leaves a gradient in `.grad` of every parameter it trains; an ordinary torch optimizer does the step.

    A parameter that the rule does not train keeps `grad = None`, and the optimizer passes it by. A rule that never
    trains a hidden block may say so with `last_block_only = True`; what those give is then computed once.
    """

    def prepare(self, model: Model, classes: int, device: ProjectionDevice, compute: torch.device) -> None:
        """Called once before training: fixes the feedback matrices, if the rule has any."""
        ...

    def backward(self, model: Model, batch: Batch) -> Step:
        """One forward pass and the rule's own backward pass."""
        ...


@runtime_checkable
class HasFeedbackMatrices(Protocol):
    """What a rule may have besides: a fixed feedback matrix for each hidden block, to be compared with the weights."""

    def feedback_matrices(self) -> list[Tensor]:
        """`B_i` `[classes, width_i]` of each hidden block, in order."""
        ...


@runtime_checkable
class Stateful(Protocol):
    """What a rule may have besides, and every model and device has: tensors that it remembers from step to step."""

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state: dict[str, Tensor]) -> Any: ...


def cross_entropy(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The loss `-1/n sum_r log p[r, y_r]`, `p = softmax(logits)`, and its gradient with respect to the logits.

    That gradient is the error `e = (p - onehot(y)) / n` `[n, classes]`, from which every rule starts.
    """
    log_p = torch.log_softmax(logits, dim=1)
    at_target = targets.unsqueeze(1)
    loss = -log_p.gather(1, at_target).mean()
    error = log_p.exp()
    error.scatter_add_(1, at_target, torch.full_like(at_target, -1, dtype=error.dtype))
    return loss, error.div_(len(targets))


def loss_and_error(logits: Tensor, batch: Batch) -> tuple[Step, Tensor]:
    """Loss, hits and error `[labelled, classes]` of detached logits `[rows, classes]`."""
    logits = logits.detach()
    labelled = logits if batch.rows is None else logits[batch.rows]
    loss, error = cross_entropy(labelled, batch.targets)
    return Step(loss, (labelled.argmax(1) == batch.targets).sum()), error


def scatter_to_rows(values: Tensor, batch: Batch, rows: int) -> Tensor:
    """Values of the labelled rows `[labelled, width]` among zeros `[rows, width]`: the others have no error."""
    if batch.rows is None:
        return values
    return values.new_zeros(rows, values.shape[1]).index_copy_(0, batch.rows, values)
