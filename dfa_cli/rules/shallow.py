"""Training of the last block alone, the baseline for rules that train hidden blocks."""

from __future__ import annotations

import torch

from dfa_cli.devices.base import ProjectionDevice
from dfa_cli.kernels.vjp import accumulate_vjp
from dfa_cli.models.base import Model
from dfa_cli.models.batch import Batch
from dfa_cli.rules.base import KEEP, Step, loss_and_error, require_chain


class Shallow:
    """Trains the last block only, with its true gradient. The hidden blocks keep their random weights.

    This is a linear classifier on random features. A rule that claims to train hidden layers has to reach a higher
    accuracy (the "shallow" baseline of Launay et al. 2020, arXiv 2012.06373).
    """

    last_block_only = True  # lets the loop compute the outputs of the hidden blocks only once
    activations = KEEP  # At most one hidden block is held at a time, so `recompute` has nothing to save.

    def prepare(self, model: Model, classes: int, device: ProjectionDevice, compute: torch.device) -> None:
        require_chain(model)

    def backward(self, model: Model, batch: Batch) -> Step:
        h, last = batch.x, len(model.blocks) - 1
        with torch.no_grad():
            for i in range(last):
                h = model.output(i, h, batch)
        logits = model.output(last, h, batch)
        step, error = loss_and_error(logits, batch.targets)
        accumulate_vjp(logits, error)
        return step
