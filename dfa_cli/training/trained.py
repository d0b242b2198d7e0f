"""A network with the weights that a run has saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dfa_cli.data.base import Data
from dfa_cli.kernels.softmax import favoured
from dfa_cli.models.base import Model
from dfa_cli.training.batches import Batches
from dfa_cli.training.evaluation import ROWS_AT_ONCE
from dfa_cli.training.setup import build_model
from dfa_cli.training.weights import load_weights


@dataclass(frozen=True)
class Trained:
    """The network of a run with the weights that the run has saved, and the data of the run.

    `model`: a `torch.nn.Module`, in evaluation mode. It is called with a `Batch` of `dfa_cli.models`, and `logits` does
    that for rows of the data. `data`: features `x`, labels `y`, and the rows of `train`, `validation` and `test`, with
    the options and the split of the run, in the format in which the model computes.
    """

    model: Model
    data: Data

    @classmethod
    def load(cls, config: Mapping[str, Any], name: str, data: Data, weights: Path) -> Trained:
        """Build the model of a configuration, and give it the weights of a file. `name`: what messages call the model.

        Raises `DfaError` when the weights do not fit the model.
        """
        model, data = build_model(config, data, name)
        load_weights(model, weights)
        return cls(model.eval(), data)

    @torch.no_grad()
    def logits(self, rows: Tensor) -> Tensor:
        """Return the logits `[n, classes]` of these rows `[n]` of the data, without dropout."""
        batches = Batches(self.data, None, torch.Generator())
        if batches.whole is not None:
            return self.model(replace(batches.whole, rows=rows))
        return torch.cat([self.model(batches.batch_of(part)) for part in rows.split(ROWS_AT_ONCE)])

    def confusions(self) -> dict[str, list[list[int]]]:
        """Count the rows of `validation` and `test` by their class `i` and by the class `j` that the model favours."""
        return {
            name: self._confusion(rows).tolist()
            for name, rows in (("validation", self.data.validation), ("test", self.data.test))
        }

    def _confusion(self, rows: Tensor) -> Tensor:
        classes = self.data.classes
        pairs = self.data.y[rows] * classes + favoured(self.logits(rows))
        return torch.bincount(pairs.cpu(), minlength=classes * classes).view(classes, classes)
