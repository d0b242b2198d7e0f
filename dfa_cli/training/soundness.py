"""Tells whether training is still finite, and names the first thing that is not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dfa_cli.config.own_errors import described
from dfa_cli.errors import DfaError
from dfa_cli.kernels.sparse import SparseMatrix
from dfa_cli.models.batch import Batch
from dfa_cli.training.evaluation import ROWS_AT_ONCE

if TYPE_CHECKING:
    from dfa_cli.training.loop import Epoch
    from dfa_cli.training.setup import Experiment

PROBE_ROWS = 16  # errors that are projected to test the device


class DivergenceError(DfaError):
    """Training has diverged: in `epoch` a loss or a weight became NaN or infinite."""

    exit_code = 1
    refuses = False

    def __init__(self, epoch: int | None, sentence: str):
        super().__init__(sentence)
        self.epoch = epoch


def require_finite(experiment: Experiment, epoch: Epoch | None) -> None:
    """Raise `DivergenceError` unless the validation loss of `epoch` and all weights are finite.

    The training loss of an epoch does not tell: it was computed before the last step. `epoch`: the last one that was
    trained, or `None` if there was none in this process.
    """
    if epoch is not None and not math.isfinite(epoch.validation_loss):
        raise divergence(
            experiment,
            f"The validation loss became {epoch.validation_loss} in epoch {epoch.epoch}",
            epoch.epoch,
        )
    if not all(map(is_finite, experiment.model.parameters())):
        number = None if epoch is None else epoch.epoch
        raise divergence(
            experiment, "Weights are not finite" + (f" after epoch {number}" if number else ""), number
        )


def divergence(experiment: Experiment, what: str, epoch: int | None) -> DivergenceError:
    """Build the error for a run in which `what` happened: it names the first thing that is not finite."""
    device = experiment.device
    if device is not None and not is_finite(device.project(_sample_error(experiment))):
        cause = " ".join(device.cost().warnings) or "Change its options, device.KEY=VALUE."
        advice = f"the projection device answers a finite error with values that are not finite. {cause}"
    elif (culprit := first_not_finite(experiment)) == "the input":
        advice = "the input of the network is not finite. Mend the data set."
    else:
        first = (
            f"The first values that are not finite are {culprit}."
            if culprit
            else "All weights and activations are finite now, so the overflow was in an earlier step of this epoch."
        )
        advice = f"training has diverged and was stopped. {first} Try a smaller optimizer.lr."
        if (trace := experiment.trace) is not None:
            own, said = ", ".join(map(described, trace.kinds)), trace.said()
            advice = (
                f"training was stopped. {f'{said}.' if said else first} The run uses code of your own, {own}: see what "
                "it does there, or try a smaller optimizer.lr."
            )
    return DivergenceError(epoch, f"{what}: {advice}")


def _sample_error(experiment: Experiment) -> Tensor:
    """Return a few errors as an untrained network makes them, to see how the device answers."""
    batch = experiment.batches.sample()
    classes = experiment.model.blocks[-1].width
    targets = batch.targets[:PROBE_ROWS]
    error = torch.full((len(targets), classes), 1 / classes, device=targets.device)
    error.scatter_add_(1, targets.unsqueeze(1), torch.full_like(error, -1.0))
    return error / len(batch.targets)


@torch.no_grad()
def first_not_finite(experiment: Experiment) -> str | None:
    """Name the first that is not finite on the way from the input to the logits, or return `None`.

    The order is the input, the weights of block 1, its activations, the weights of block 2, and so on. The loss
    may overflow where the activations of the last block are large, and still finite.
    """
    x = experiment.batches.x
    if not is_finite(x.csr.values() if isinstance(x, SparseMatrix) else x):
        return "the input"
    model = experiment.model
    was_training = model.training
    model.eval()
    reached, largest = len(model.blocks), 0.0
    for batch in _all_rows(experiment):
        count, h = _finite_blocks(experiment, batch)
        reached = min(reached, count)
        if is_finite(h) and not is_finite(torch.log_softmax(h, dim=1).sum()):
            largest = max(largest, float(h.abs().max()))
    model.train(was_training)
    for i, block in enumerate(model.blocks):
        if not all(map(is_finite, block.parameters())):
            return f"the weights of block {i + 1}"
        if i == reached:
            return f"the activations of block {i + 1}"
    if largest:
        return f"the losses, since the activations of block {len(model.blocks)} reach {largest:.0e}"
    return None


def _finite_blocks(experiment: Experiment, batch: Batch) -> tuple[int, Tensor]:
    """Return how many blocks, from the first one on, have finite activations, and the last activations computed."""
    h: Any = batch.x
    for i, block in enumerate(experiment.model.blocks):
        h = block(h, batch.graph)
        if not is_finite(h):
            return i, h
    return len(experiment.model.blocks), h


def _all_rows(experiment: Experiment) -> Iterator[Batch]:
    batches = experiment.batches
    if batches.whole is not None:
        yield batches.whole
        return
    for rows in torch.cat([batches.train, experiment.validation]).split(ROWS_AT_ONCE):
        yield batches.batch_of(rows)


def is_finite(values: Tensor) -> bool:
    return bool(torch.isfinite(values.detach()).all())
