"""The training loop, one epoch at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from dfa_cli.config.own_errors import described, is_own_class, returned
from dfa_cli.devices.base import Cost
from dfa_cli.errors import DfaError
from dfa_cli.models.base import Model
from dfa_cli.rules.base import LearningRule, Step
from dfa_cli.training.batches import Batches
from dfa_cli.training.cached_features import cache_hidden_features
from dfa_cli.training.evaluation import Evaluation
from dfa_cli.training.graph import with_graphs
from dfa_cli.training.schedule import set_rate
from dfa_cli.training.setup import Experiment
from dfa_cli.training.soundness import divergence


@dataclass(frozen=True)
class LoopSettings:
    """How long the loop trains, how the learning rate falls, when the alignment is measured, and what is replayed.

    Training ends after `epochs` epochs, or when the validation accuracy has not risen for `patience` epochs.
    `schedule`: a key of `SCHEDULES`. `alignment_every`: the number of epochs from one measurement of the
    alignment to the next, or `None` for no measurement. `graph`: `auto` to replay recorded steps where that is
    possible (`graph.py`), or `off`.
    """

    epochs: int
    patience: int | None = None
    schedule: str = "constant"
    alignment_every: int | None = None
    graph: str = "off"

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> LoopSettings:
        """Read the settings from the configuration keys of the same names."""
        return cls(
            config["epochs"],
            config["patience"],
            config["schedule"],
            config["alignment_every"],
            config["graph"],
        )


@dataclass(frozen=True)
class Epoch:
    """The measurements of one epoch. Accuracies are fractions.

    The training loss and accuracy are those of the steps themselves, with dropout. The validation and test figures are
    measured after the epoch, without dropout. `seconds` count from the start of training. `cost`: of all projections so
    far; it is `None` for a rule that projects nothing. `alignment` holds the columns of the alignment, if it is
    measured. `is_best`: whether it is the best epoch so far (`History`).
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    test_accuracy: float
    seconds: float
    cost: Cost | None = None
    alignment: Mapping[str, float | None] = field(default_factory=dict)
    is_best: bool = False

    def row(self) -> dict[str, Any]:
        """Return the epoch as one line of metrics.csv, by column. `frames` counts the frames shown so far."""
        values = asdict(self)
        del values["cost"], values["alignment"], values["is_best"]
        return {**values, "frames": self.cost.frames if self.cost else None, **self.alignment}


@dataclass(frozen=True)
class History:
    """What the loop has to know of the epochs so far, to go on after them.

    `epoch`: the last epoch. `best_accuracy`: the highest validation accuracy. `best_epoch`: the first epoch that
    reached it, from which the patience counts. `best_loss`: the lowest validation loss of an epoch that reached it.
    `seconds`: the time that the epochs took.
    """

    epoch: int = 0
    best_accuracy: float = -1.0  # less than any accuracy, so that the first epoch is the best so far
    best_epoch: int = 0
    best_loss: float = 0.0
    seconds: float = 0.0

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, float]]) -> History:
        """Build the history from the lines of metrics.csv."""
        history = cls()
        for row in rows:
            history = history.after(
                int(row["epoch"]), row["validation_accuracy"], row["validation_loss"], row["seconds"]
            )
        return history

    def is_surpassed_by(self, validation_accuracy: float, validation_loss: float) -> bool:
        """Tell whether an epoch is better than all so far, as the record of a run chooses its best epoch."""
        return (validation_accuracy, -validation_loss) > (self.best_accuracy, -self.best_loss)

    def after(
        self, epoch: int, validation_accuracy: float, validation_loss: float, seconds: float
    ) -> History:
        """Return the history with one more epoch."""
        best = self.best_accuracy, self.best_loss
        if self.is_surpassed_by(validation_accuracy, validation_loss):
            best = validation_accuracy, validation_loss
        best_epoch = epoch if validation_accuracy > self.best_accuracy else self.best_epoch
        return History(epoch, best[0], best_epoch, best[1], seconds)


def train(experiment: Experiment, settings: LoopSettings, history: History = History()) -> Iterator[Epoch]:
    """Train, and yield the measurements of each epoch. A resumed run goes on after the last epoch of its `history`.

    The test accuracy is measured but decides nothing. Raises `DivergenceError` when the training loss is
    no longer finite.
    """
    model, batches = cache_hidden_features(experiment.model, experiment.rule, experiment.batches)
    rule, optimizer = experiment.rule, experiment.optimizer
    validation, test = experiment.validation, experiment.test
    evaluate = Evaluation(model, batches, validation, test)
    step = TrainingStep(model, rule, optimizer, batches)
    sums = step.sums
    # Reading the loss makes the CPU wait for an accelerator.
    if experiment.trace is not None and experiment.in_one_process and batches.y.is_cpu:
        experiment.trace.watch(optimizer, sums.loss, history.epoch)
    if settings.graph == "auto":
        step, evaluate = with_graphs(experiment, step, sums, evaluate)
    start = time.perf_counter() - history.seconds
    model.train()
    for epoch in range(history.epoch + 1, settings.epochs + 1):
        if settings.patience is not None and epoch - 1 - history.best_epoch >= settings.patience:
            return
        set_rate(optimizer, settings.schedule, epoch, settings.epochs)
        rows = train_epoch(step, batches, sums)
        loss, hits, validation_loss, validation_hits, test_hits = _numbers([*sums, *evaluate()])
        loss /= rows
        if not math.isfinite(loss):
            raise divergence(experiment, f"The training loss became {loss} in epoch {epoch}", epoch)
        measured = validation_hits / len(validation), validation_loss / len(validation)
        is_best = history.is_surpassed_by(*measured)
        history = history.after(epoch, *measured, time.perf_counter() - start)
        yield Epoch(
            epoch=epoch,
            train_loss=loss,
            train_accuracy=hits / rows,
            validation_loss=measured[1],
            validation_accuracy=measured[0],
            test_accuracy=test_hits / len(test),
            seconds=history.seconds,
            cost=experiment.epoch_cost(),
            alignment=experiment.alignment(epoch, settings.alignment_every),
            is_best=is_best,
        )


def _numbers(scalars: list[Tensor]) -> list[float]:
    if scalars[0].is_cpu:
        return [scalar.item() for scalar in scalars]
    # Read all at once, because every read makes the CPU wait for the accelerator.
    return torch.stack(scalars).tolist()


class TrainingStep:
    """A training step on some rows: the rule computes the gradients, and the optimizer changes the weights.

    `sums`: the summed loss and the number of correct rows, to which each step adds. They stay on the accelerator.
    """

    def __init__(self, model: Model, rule: LearningRule, optimizer: torch.optim.Optimizer, batches: Batches):
        self.model, self.rule, self.optimizer, self.batches = model, rule, optimizer, batches
        dtype = next((parameter.dtype for parameter in model.parameters()), None)
        loss = torch.zeros((), dtype=dtype, device=batches.y.device)
        self.sums = Step(loss, torch.zeros_like(loss, dtype=torch.int64))
        self.is_checked = False  # whether the first step of the rule was one

    def __call__(self, rows: Tensor | None) -> int:
        """Take a step on these rows of the data, and return the number of labels in it. `rows` are as of `Batches`."""
        batch = self.batches.batch_of(rows)
        self.optimizer.zero_grad(set_to_none=True)
        step = self.rule.backward(self.model, batch)
        if not self.is_checked:
            self._require_step(step)
        loss, correct = step
        n = len(batch.targets)
        self.sums.loss.add_(loss * n)
        self.sums.correct.add_(correct.long())
        self.optimizer.step()
        return n

    def _require_step(self, step: object) -> None:
        """Raise `DfaError` for a rule of the user's own that returns something else than a step."""
        if mistake := _mistake(step, is_own_class(type(self.rule))):
            raise DfaError(
                f"{described(type(self.rule))}: backward returned {mistake}. It must return Step(loss, correct) of "
                "dfa_cli.rules: the mean loss and the number of correct rows, as loss_and_error gives them."
            )
        self.is_checked = True


def _mistake(step: object, is_own: bool) -> str | None:
    """Say what is returned in place of a step; `None` if it can be one. `is_own`: of a rule of the user's own."""
    if not isinstance(step, (tuple, list)) or len(step) != 2:
        return returned(step)
    for name, value in zip(Step._fields, step, strict=True) if is_own else ():
        if not isinstance(value, Tensor):
            if name == "correct":  # A number in place of the loss does no harm.
                return f"{returned(value)} in place of a tensor as `correct`"
        elif value.dim():
            return f"`{name}` of the shape {list(value.shape)}, in place of a tensor with one number"
    loss, correct = step
    if is_own and isinstance(loss, Tensor) and correct.is_floating_point() and not loss.is_floating_point():
        return "a whole number as `loss` and a fraction as `correct`, as if the two were swapped"
    return None


def train_epoch(step: Callable[[Tensor | None], int], batches: Batches, sums: Step) -> int:
    """Train on every batch once, and return the number of rows. `sums`: where the step adds its results."""
    for total in sums:
        total.zero_()
    rows = 0
    for chunk in batches.rows():
        rows += step(chunk)
    return rows
