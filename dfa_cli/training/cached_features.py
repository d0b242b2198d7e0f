"""Hidden blocks that no step changes: what they give is computed once."""

from __future__ import annotations

import torch
from torch import Tensor

from dfa_cli.models.base import Block, Model
from dfa_cli.models.batch import Batch
from dfa_cli.rules.base import LearningRule
from dfa_cli.training.batches import Batches
from dfa_cli.training.evaluation import ROWS_AT_ONCE

FLOAT = 4  # bytes
MOST_BYTES = 512 * 2**20  # of stored activations; beyond, each step computes its own


def cache_hidden_features(model: Model, rule: LearningRule, batches: Batches) -> tuple[Model, Batches]:
    """A model of the last block alone and batches of what the hidden blocks give it, or the arguments as they are.

    `h_{last-1}` `[rows, width]` is the same in every epoch when the rule trains the last block only and nothing
    before that block is random. The parameters are shared: what trains is still `model`. The numbers are those of
    the whole model up to the order of summation.
    """
    *hidden, last = model.blocks
    if not (hidden and getattr(rule, "last_block_only", False) and all(map(_same_every_time, hidden))):
        return model, batches
    if len(batches.y) * hidden[-1].width * FLOAT > MOST_BYTES:
        return model, batches
    return Model([last], last.dropout.generator), batches.of_inputs(_outputs(hidden, batches))


def _same_every_time(block: Block) -> bool:
    return block.dropout.p == 0.0 and getattr(block.layer, "deterministic", False)


@torch.no_grad()
def _outputs(hidden: list[Block], batches: Batches) -> Tensor:
    """`h_{last-1}` of every row of the data set, the batches' bound on memory kept."""
    if batches.whole is not None:
        return _through(hidden, batches.whole)
    every = torch.arange(len(batches.y), device=batches.y.device)
    found: Tensor | None = None
    for rows in every.split(ROWS_AT_ONCE):
        h = _through(hidden, batches.of(rows))
        found = h.new_empty(len(every), h.shape[1]) if found is None else found
        found[rows] = h
    assert found is not None
    return found


def _through(hidden: list[Block], batch: Batch) -> Tensor:
    h = batch.x
    for block in hidden:
        h = block(h, batch.graph)
    assert isinstance(h, Tensor)
    return h
