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
    """The network of a run, ready to classify, and the data of the run in the format in which it computes."""

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

    def confusions(self) -> dict[str, list[list[int]]]:
        """Count the rows of `validation` and `test` by their class `i` and by the class `j` that the model favours."""
        batches = Batches(self.data, None, torch.Generator())
        return {
            name: self._confusion(batches, rows).tolist()
            for name, rows in (("validation", self.data.validation), ("test", self.data.test))
        }

    @torch.no_grad()
    def _confusion(self, batches: Batches, rows: Tensor) -> Tensor:
        counts = torch.zeros(self.data.classes, self.data.classes, dtype=torch.int64)
        if batches.whole is None:
            parts = map(batches.batch_of, rows.split(ROWS_AT_ONCE))
        else:
            parts = iter([replace(batches.whole, rows=rows)])
        for batch in parts:
            pairs = torch.stack([batch.targets, favoured(self.model(batch))]).cpu()
            counts.index_put_((pairs[0], pairs[1]), torch.tensor(1), accumulate=True)
        return counts
