"""Loss and accuracy of a model on rows it does not train on."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import nll_loss

from dfa_cli.kernels.softmax import log_softmax
from dfa_cli.models.base import Model
from dfa_cli.training.batches import Batches

ROWS_AT_ONCE = 2048  # small enough to bound the memory, large enough for products at full speed


@torch.no_grad()
def evaluate(model: Model, batches: Batches, validation: Tensor, test: Tensor) -> Tensor:
    """Evaluate the model without dropout and return `[summed validation loss, validation hits, test hits]`.

    A hit is a row that is classified correctly. The tensor stays on the accelerator, because reading a number would
    make the CPU wait.
    """
    was_training = model.training
    model.eval()
    scores = _evaluate_samples if batches.whole is None else _evaluate_graph
    found = scores(model, batches, validation, test)
    model.train(was_training)
    return found


def _evaluate_graph(model: Model, batches: Batches, validation: Tensor, test: Tensor) -> Tensor:
    """Run one forward pass over the whole graph, which serves all rows."""
    assert batches.held_out is not None
    logits, y = model(batches.held_out), batches.held_out.targets
    right, n = logits.argmax(1) == y, len(validation)
    loss = nll_loss(log_softmax(logits[:n]), y[:n], reduction="sum")
    return torch.stack([loss, right[:n].sum(), right[n:].sum()])


def _evaluate_samples(model: Model, batches: Batches, validation: Tensor, test: Tensor) -> Tensor:
    """Run a forward pass for every `ROWS_AT_ONCE` rows."""
    loss, hits, test_hits = torch.zeros(3, device=validation.device)
    for batch in map(batches.batch_of, validation.split(ROWS_AT_ONCE)):
        logits, y = model(batch), batch.targets
        loss += nll_loss(log_softmax(logits), y, reduction="sum")
        hits += (logits.argmax(1) == y).sum()
    for batch in map(batches.batch_of, test.split(ROWS_AT_ONCE)):
        test_hits += (model(batch).argmax(1) == batch.targets).sum()
    return torch.stack([loss, hits, test_hits])
