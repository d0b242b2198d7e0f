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
from dfa_cli.training.schedule import set_rate


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


class DivergenceError(DfaError):
    """The loss of `epoch` is not a number, or infinite."""

    def __init__(self, epoch: int, sentence: str):
        super().__init__(sentence)
        self.epoch = epoch


@dataclass(frozen=True)
class Best:
    """The highest validation accuracy so far and its first epoch: what the patience counts from."""

    accuracy: float = -1.0
    epoch: int = 0

    def after(self, epoch: int, accuracy: float) -> Best:
        return Best(accuracy, epoch) if accuracy > self.accuracy else self


def train(
    model: Model,
    rule: LearningRule,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    validation: Tensor,
    test: Tensor,
    epochs: int,
    patience: int | None = None,
    schedule: str = "constant",
    start: int = 1,
    best: Best = Best(),
    seconds: float = 0.0,
) -> Iterator[Epoch]:
    """Yields after each epoch, until `epochs` or `patience` epochs without a better validation accuracy.

    A resumed run begins with the epoch `start`; `best` and `seconds` are then those of the epochs before it.
    `validation`, `test`: row indices. The test set is measured and never steers anything.
    Raises `DfaError` when the loss is no longer finite.
    """
    began = time.perf_counter() - seconds
    model.train()
    for epoch in range(start, epochs + 1):
        if patience is not None and epoch - 1 - best.epoch >= patience:
            return
        set_rate(optimizer, schedule, epoch, epochs)
        seen, rows = train_epoch(model, rule, optimizer, batches)
        scores = evaluate(model, batches, validation, test)
        # one read an epoch: reading waits for the accelerator
        loss, hits, validation_loss, validation_hits, test_hits = torch.cat([seen, scores]).tolist()
        loss /= rows
        validation_accuracy = validation_hits / len(validation)
        if not math.isfinite(loss):
            raise DivergenceError(
                epoch,
                f"The training loss became {loss} in epoch {epoch}: training has diverged and was stopped; "
                "try a smaller optimizer.lr.",
            )
        yield Epoch(
            epoch,
            loss,
            hits / rows,
            validation_loss / len(validation),
            validation_accuracy,
            test_hits / len(test),
            time.perf_counter() - began,
        )
        best = best.after(epoch, validation_accuracy)


def train_epoch(
    model: Model, rule: LearningRule, optimizer: torch.optim.Optimizer, batches: Batches
) -> tuple[Tensor, int]:
    """One pass over the training rows: their summed loss and hits `[2]`, still on the device, and how many they are."""
    total = torch.zeros(2, device=batches.y.device)
    rows = 0
    for batch in batches:
        optimizer.zero_grad(set_to_none=True)
        loss, correct = rule.backward(model, batch)
        optimizer.step()
        n = len(batch.targets)
        total += torch.stack([loss * n, correct.to(loss.dtype)])
        rows += n
    return total, rows
