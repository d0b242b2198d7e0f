"""Loss and accuracy of a model on rows it does not train on."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import nll_loss

from dfa_cli.kernels.softmax import favoured, log_softmax
from dfa_cli.models.base import Model
from dfa_cli.models.batch import Batch
from dfa_cli.training.batches import Batches

ROWS_AT_ONCE = 2048  # small enough to bound the memory, large enough for products at full speed


class Evaluation:
    """Evaluates a model after each epoch. What stays the same from epoch to epoch is prepared once."""

    def __init__(self, model: Model, batches: Batches, validation: Tensor, test: Tensor):
        self.model, self.batches, self.validation, self.test = model, batches, validation, test
        self.modules = list(model.modules())
        self.has_own_modes = any(type(module).train is not nn.Module.train for module in self.modules)
        self.graph = batches.whole and replace(batches.whole, rows=torch.cat([validation, test]))

    @torch.no_grad()
    def __call__(self) -> tuple[Tensor, Tensor, Tensor]:
        """Evaluate the model without dropout and return the summed validation loss, validation hits and test hits.

        A hit is a row that is classified correctly. The numbers stay on the accelerator, because reading one would make
        the CPU wait.
        """
        was_training = self.model.training
        self._set_mode(False)
        try:
            return self._of_samples() if self.graph is None else self._of_graph(self.graph)
        finally:
            self._set_mode(was_training)

    def _set_mode(self, training: bool) -> None:
        """Do what `model.train(training)` does, which takes as long as a layer of a small network."""
        if self.has_own_modes:
            self.model.train(training)
            return
        for module in self.modules:
            module.__dict__["training"] = training

    def _of_graph(self, graph: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Run one forward pass over the graph, which serves all rows."""
        logits, y = self.model(graph), graph.targets
        right, n = favoured(logits) == y, len(self.validation)
        loss = nll_loss(log_softmax(logits[:n]), y[:n], reduction="sum")
        return loss, right[:n].sum(), right[n:].sum()

    def _of_samples(self) -> tuple[Tensor, Tensor, Tensor]:
        """Run a forward pass for every `ROWS_AT_ONCE` rows."""
        loss, hits, test_hits = torch.zeros(3, device=self.validation.device)
        for batch in map(self.batches.batch_of, self.validation.split(ROWS_AT_ONCE)):
            logits, y = self.model(batch), batch.targets
            loss += nll_loss(log_softmax(logits), y, reduction="sum")
            hits += (favoured(logits) == y).sum()
        for batch in map(self.batches.batch_of, self.test.split(ROWS_AT_ONCE)):
            test_hits += (favoured(self.model(batch)) == batch.targets).sum()
        return loss, hits, test_hits
