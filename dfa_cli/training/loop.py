"""Training, an epoch at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from dfa_cli.errors import DfaError
from dfa_cli.models.base import Model
from dfa_cli.rules.base import LearningRule
from dfa_cli.training.batches import Batches
from dfa_cli.training.evaluation import evaluate


@dataclass(frozen=True)
class Epoch:
    """What one epoch measured. Accuracies are fractions; the training figures are those of the steps themselves,
    dropout included; the others are measured after the epoch. `seconds` count from the start of training."""

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    test_accuracy: float
    seconds: float


def train(
    model: Model,
    rule: LearningRule,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    validation: Tensor,
    test: Tensor,
    epochs: int,
    patience: int | None = None,
    start: int = 1,
) -> Iterator[Epoch]:
    """Yields after each epoch, until `epochs` or `patience` epochs without a better validation accuracy.

    `validation`, `test`: row indices. The test set is measured and never steers anything.
    Raises `DfaError` when the loss is no longer finite.
    """
    began = time.perf_counter()
    model.train()
    best, best_epoch = -1.0, 0
    for epoch in range(start, epochs + 1):
        seen = train_epoch(model, rule, optimizer, batches)
        scores = evaluate(model, batches, validation, test)
        # one read an epoch: reading waits for the accelerator
        loss, accuracy, validation_loss, validation_accuracy, test_accuracy = torch.cat([seen, scores]).tolist()
        if not math.isfinite(loss):
            raise DfaError(
                f"The training loss became {loss} in epoch {epoch}: training has diverged and was stopped; "
                "try a smaller optimizer.lr."
            )
        yield Epoch(
            epoch,
            loss,
            accuracy,
            validation_loss,
            validation_accuracy,
            test_accuracy,
            time.perf_counter() - began,
        )
        if validation_accuracy > best:
            best, best_epoch = validation_accuracy, epoch
        if patience is not None and epoch - best_epoch >= patience:
            return


def train_epoch(
    model: Model, rule: LearningRule, optimizer: torch.optim.Optimizer, batches: Batches
) -> Tensor:
    """One pass over the training rows; their mean loss and accuracy `[2]`, still on the device."""
    total = torch.zeros(2, device=batches.y.device)
    rows = 0
    for batch in batches:
        optimizer.zero_grad(set_to_none=True)
        loss, correct = rule.backward(model, batch)
        optimizer.step()
        n = len(batch.targets)
        total += torch.stack([loss * n, correct.to(loss.dtype)])
        rows += n
    return total / rows
