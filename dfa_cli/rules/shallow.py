"""Only the last block learns."""

from __future__ import annotations

import torch

from dfa_cli.devices.base import ProjectionDevice
from dfa_cli.kernels.vjp import accumulate_vjps
from dfa_cli.models.base import Model
from dfa_cli.models.batch import Batch
from dfa_cli.rules.base import Step, loss_and_error, scatter_to_rows


class Shallow:
    """The last block takes its true gradient; the hidden blocks keep their random weights.

    What is left is a linear classifier on random features: the floor that any rule which claims to train hidden
    layers has to rise above (the "shallow" baseline of Launay et al. 2020, arXiv 2012.06373).
    """

    last_block_only = True  # so that what the hidden blocks give may be computed once

    def prepare(self, model: Model, classes: int, device: ProjectionDevice, compute: torch.device) -> None:
        pass

    def backward(self, model: Model, batch: Batch) -> Step:
        h = batch.x
        with torch.no_grad():
            for block in model.blocks[:-1]:
                h = block(h, batch.graph)
        logits = model.blocks[-1](h, batch.graph)
        step, error = loss_and_error(logits, batch)
        accumulate_vjps([logits], [scatter_to_rows(error, batch, len(logits))])
        return step
