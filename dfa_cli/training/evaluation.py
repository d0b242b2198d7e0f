"""Loss and accuracy of a model on rows it does not train on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from dfa_cli.models.base import Model
from dfa_cli.training.batches import Batches

ROWS_AT_ONCE = 2048  # small enough to bound the memory, large enough for products at full speed

# Maps row indices to pairs of logits and labels.
Outputs = Callable[[Tensor], Iterator[tuple[Tensor, Tensor]]]


@torch.no_grad()
def evaluate(model: Model, batches: Batches, validation: Tensor, test: Tensor) -> Tensor:
    """Evaluate the model without dropout and return `[summed validation loss, validation hits, test hits]`.

    A hit is a row that is classified correctly. The tensor stays on the accelerator, because reading a number would
    make the CPU wait.
    """
    was_training = model.training
    model.eval()
    outputs = _graph_outputs(model, batches) if batches.whole is not None else _sample_outputs(model, batches)
    loss = torch.zeros((), device=validation.device)
    hits = torch.zeros(2, device=validation.device)
    for logits, y in outputs(validation):
        loss += cross_entropy(logits, y, reduction="sum")
        hits[0] += (logits.argmax(1) == y).sum()
    for logits, y in outputs(test):
        hits[1] += (logits.argmax(1) == y).sum()
    model.train(was_training)
    return torch.cat([loss.unsqueeze(0), hits])


def _graph_outputs(model: Model, batches: Batches) -> Outputs:
    """Run one forward pass over the whole graph, which serves every choice of rows."""
    assert batches.whole is not None
    logits, y = model(batches.whole), batches.y
    return lambda rows: iter([(logits.index_select(0, rows), y.index_select(0, rows))])


def _sample_outputs(model: Model, batches: Batches) -> Outputs:
    """Run a forward pass for every `ROWS_AT_ONCE` rows."""
    return lambda rows: ((model(batch), batch.targets) for batch in map(batches.of, rows.split(ROWS_AT_ONCE)))
