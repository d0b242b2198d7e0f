"""Caches the output of hidden blocks that never change (`rule=shallow`)."""

from __future__ import annotations

import torch
from torch import Tensor

from dfa_cli.models.base import Block, Model, said_of
from dfa_cli.models.batch import Batch
from dfa_cli.rules.base import LearningRule
from dfa_cli.training.batches import Batches
from dfa_cli.training.evaluation import ROWS_AT_ONCE

BYTES_PER_FLOAT = 4
# The largest cache. Where more would be needed, nothing is cached and every step computes the hidden outputs.
MAX_BYTES = 512 * 2**20


def cache_hidden_features(model: Model, rule: LearningRule, batches: Batches) -> tuple[Model, Batches]:
    """Return the last block as a model of its own, and batches whose inputs are the cached output of the hidden blocks.

    This is possible when the rule trains only the last block and the hidden blocks draw no random numbers, since
    `h_{last-1}` `[rows, width]` is then the same in every epoch. Otherwise, or when the cache would need more than
    `MAX_BYTES`, the arguments are returned unchanged. The returned model shares its parameters with `model`. The
    numbers are those of the whole model up to the order of summation.
    """
    *hidden, last = model.blocks
    if not (hidden and getattr(rule, "last_block_only", False) and all(map(_is_deterministic, hidden))):
        return model, batches
    if len(batches.y) * hidden[-1].width * BYTES_PER_FLOAT > MAX_BYTES:
        return model, batches
    return Model([last]), batches.with_inputs(_hidden_features(hidden, batches))


def _is_deterministic(block: Block) -> bool:
    return block.dropout.p == 0.0 and bool(said_of(block.layer, "deterministic"))


@torch.no_grad()
def _hidden_features(hidden: list[Block], batches: Batches) -> Tensor:
    """Compute `h_{last-1}` for every row of the data set, `ROWS_AT_ONCE` rows at a time to bound the memory."""
    if batches.whole is not None:
        return _through_hidden_blocks(hidden, batches.whole)
    all_rows = torch.arange(len(batches.y), device=batches.y.device)
    features: Tensor | None = None
    for rows in all_rows.split(ROWS_AT_ONCE):
        h = _through_hidden_blocks(hidden, batches.batch_of(rows))
        features = h.new_empty(len(all_rows), h.shape[1]) if features is None else features
        features[rows] = h
    assert features is not None
    return features


def _through_hidden_blocks(hidden: list[Block], batch: Batch) -> Tensor:
    h = batch.x
    for block in hidden:
        h = block(h, batch.graph)
    assert isinstance(h, Tensor)
    return h
