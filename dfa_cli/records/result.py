"""Computes the result of a run from its epochs: what the best one and the last one measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ResultSoFar:
    """The result after each epoch, in `values`. It is empty before the first one.

    The best epoch has the highest validation accuracy. Ties go to the lowest validation loss, then to the earliest
    epoch. The test accuracy takes no part in the choice.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._best = (-1.0, 0.0)  # validation accuracy, and minus the validation loss; worse than any epoch

    def add(self, metrics: Mapping[str, Any]) -> None:
        """Takes the metrics of the next epoch into account."""
        key = (metrics["validation_accuracy"], -metrics["validation_loss"])
        if key > self._best or not self.values:
            self._best = key
            self.values["best_epoch"] = metrics["epoch"]
            self.values["best_validation_accuracy"] = metrics["validation_accuracy"]
            self.values["test_accuracy_at_best_validation"] = metrics["test_accuracy"]
        self.values["last_epoch"] = metrics["epoch"]
        self.values["test_accuracy_at_last_epoch"] = metrics["test_accuracy"]
        self.values["last_train_loss"] = metrics["train_loss"]
