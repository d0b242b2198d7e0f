"""Loss and accuracy of a model on rows it does not train on."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from dfa_cli.models.base import Batch, Model
from dfa_cli.training.batches import Batches

ROWS_AT_ONCE = 2048  # bounds the memory of an evaluation; large enough for the products to run at full speed


@torch.no_grad()
def evaluate(model: Model, batches: Batches, splits: dict[str, Tensor]) -> Tensor:
    """Mean loss and accuracy of each split: `[splits, 2]`, still on the device (reading it waits for the device).

    On a graph all splits are read from one forward pass, since every node's output is there.
    """
    training = model.training
    model.eval()
    try:
        if batches.whole is not None:
            logits = model(batches.whole)
            y = batches.whole.y
            return torch.stack([_score(logits[rows], y[rows]) / len(rows) for rows in splits.values()])
        return torch.stack([_in_chunks(model, batches, rows) for rows in splits.values()])
    finally:
        model.train(training)


def _in_chunks(model: Model, batches: Batches, rows: Tensor) -> Tensor:
    total = sum(
        (_score(model(batch), batch.targets) for batch in map(batches.of, rows.split(ROWS_AT_ONCE))),
        start=torch.zeros(2, device=rows.device),
    )
    return total / len(rows)


def _score(logits: Tensor, y: Tensor) -> Tensor:
    """Sum of the losses, number of hits: `[2]`."""
    loss = cross_entropy(logits, y, reduction="sum")
    return torch.stack([loss, (logits.argmax(1) == y).sum().to(loss.dtype)])
