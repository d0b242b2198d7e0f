"""Training, an epoch at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from dfa_cli.errors import DfaError
from dfa_cli.models.base import Model
from dfa_cli.rules.base import LearningRule
from dfa_cli.training.batches import Batches
from dfa_cli.training.cached_features import cache_hidden_features
from dfa_cli.training.evaluation import evaluate
from dfa_cli.training.schedule import set_rate
from dfa_cli.training.setup import Experiment


@dataclass(frozen=True)
class Course:
    """How long and how a run trains: at most `epochs`, fewer when `patience` epochs bring nothing better.

    `schedule`: how the learning rate falls; `alignment_every`: in which epochs the alignment is measured.
    """

    epochs: int
    patience: int | None = None
    schedule: str = "constant"
    alignment_every: int | None = None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Course:
        """From the keys of a configuration that have these names."""
        return cls(config["epochs"], config["patience"], config["schedule"], config["alignment_every"])


@dataclass(frozen=True)
class Epoch:
    """What one epoch measured. Accuracies are fractions; the training figures are those of the steps themselves,
    dropout included; the others are measured after the epoch. `seconds` count from the start of training.

    `frames`: shown so far, `None` for a rule that projects nothing; `alignment`: its columns, if it is measured."""

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    test_accuracy: float
    seconds: float
    frames: int | None = None
    alignment: Mapping[str, float | None] = field(default_factory=dict)

    def row(self) -> dict[str, Any]:
        """The columns of a line of metrics.csv."""
        values = asdict(self)
        return values | values.pop("alignment")


class DivergenceError(DfaError):
    """The loss of `epoch` is not a number, or infinite."""

    def __init__(self, epoch: int, sentence: str):
        super().__init__(sentence)
        self.epoch = epoch


@dataclass(frozen=True)
class History:
    """What the epochs so far have left: the last of them, the best of them, and the seconds they took.

    `best_accuracy`: the highest validation accuracy, `best_epoch` its first epoch, from which the patience counts.
    """

    epoch: int = 0
    best_accuracy: float = -1.0
    best_epoch: int = 0
    seconds: float = 0.0

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, float]]) -> History:
        """From the lines of a metrics.csv."""
        history = cls()
        for row in rows:
            history = history.after(int(row["epoch"]), row["validation_accuracy"], row["seconds"])
        return history

    def after(self, epoch: int, validation_accuracy: float, seconds: float) -> History:
        """The history with one more epoch in it."""
        if validation_accuracy > self.best_accuracy:
            return History(epoch, validation_accuracy, epoch, seconds)
        return History(epoch, self.best_accuracy, self.best_epoch, seconds)


def train(experiment: Experiment, course: Course, history: History = History()) -> Iterator[Epoch]:
    """Yields after each epoch until the course is run. A resumed run goes on after the last epoch of its `history`.

    The test set is measured and never steers anything. Raises `DivergenceError` when the loss is no longer finite.
    """
    model, batches = cache_hidden_features(experiment.model, experiment.rule, experiment.batches)
    rule, optimizer = experiment.rule, experiment.optimizer
    validation, test = experiment.validation, experiment.test
    began = time.perf_counter() - history.seconds
    model.train()
    for epoch in range(history.epoch + 1, course.epochs + 1):
        if course.patience is not None and epoch - 1 - history.best_epoch >= course.patience:
            return
        set_rate(optimizer, course.schedule, epoch, course.epochs)
        seen, rows = train_epoch(model, rule, optimizer, batches)
        scores = evaluate(model, batches, validation, test)
        # one read an epoch: reading waits for the accelerator
        loss, hits, validation_loss, validation_hits, test_hits = torch.cat([seen, scores]).tolist()
        loss /= rows
        if not math.isfinite(loss):
            raise DivergenceError(
                epoch,
                f"The training loss became {loss} in epoch {epoch}: training has diverged and was stopped; "
                "try a smaller optimizer.lr.",
            )
        history = history.after(epoch, validation_hits / len(validation), time.perf_counter() - began)
        yield Epoch(
            epoch=epoch,
            train_loss=loss,
            train_accuracy=hits / rows,
            validation_loss=validation_loss / len(validation),
            validation_accuracy=validation_hits / len(validation),
            test_accuracy=test_hits / len(test),
            seconds=history.seconds,
            frames=experiment.frames(),
            alignment=experiment.alignment(epoch, course.alignment_every),
        )


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
