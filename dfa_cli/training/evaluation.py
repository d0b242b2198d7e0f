"""Loss and accuracy of a model on rows it does not train on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from dfa_cli.models.base import Model
from dfa_cli.training.batches import Batches

ROWS_AT_ONCE = 2048  # bounds the memory of an evaluation; large enough for the products to run at full speed

Outputs = Callable[[Tensor], Iterator[tuple[Tensor, Tensor]]]


@torch.no_grad()
def evaluate(model: Model, batches: Batches, validation: Tensor, test: Tensor) -> Tensor:
    """Summed validation loss, validation hits and test hits `[3]`, still on the device: reading them waits for it."""
    was_training = model.training
    model.eval()
    outputs = _of_graph(model, batches) if batches.whole is not None else _of_samples(model, batches)
    loss = torch.zeros((), device=validation.device)
    hits = torch.zeros(2, device=validation.device)
    for logits, y in outputs(validation):
        loss += cross_entropy(logits, y, reduction="sum")
        hits[0] += (logits.argmax(1) == y).sum()
    for logits, y in outputs(test):
        hits[1] += (logits.argmax(1) == y).sum()
    model.train(was_training)
    return torch.cat([loss.unsqueeze(0), hits])


def _of_graph(model: Model, batches: Batches) -> Outputs:
    """One forward pass has every node in it."""
    assert batches.whole is not None
    logits, y = model(batches.whole), batches.y
    return lambda rows: iter([(logits.index_select(0, rows), y.index_select(0, rows))])


def _of_samples(model: Model, batches: Batches) -> Outputs:
    return lambda rows: ((model(batch), batch.targets) for batch in map(batches.of, rows.split(ROWS_AT_ONCE)))
