"""Backpropagation, the reference that the other rules are compared with."""

from __future__ import annotations

import torch

from dfa_cli.devices.base import ProjectionDevice
from dfa_cli.kernels.vjp import accumulate_vjps
from dfa_cli.models.base import Model
from dfa_cli.models.batch import Batch
from dfa_cli.rules.base import Step, loss_and_error, scatter_to_rows


class Backpropagation:
    """Backpropagation: every block learns from the true gradient, which passes from the last block to the first.

        dL/dh_{i-1} = J_i^T dL/dh_i      with J_i the Jacobian of block i

    Nothing is projected, so the device is not used. Rumelhart, Hinton & Williams 1986.
    """

    def prepare(self, model: Model, classes: int, device: ProjectionDevice, compute: torch.device) -> None:
        pass

    def backward(self, model: Model, batch: Batch) -> Step:
        logits = model(batch)
        step, error = loss_and_error(logits, batch)
        accumulate_vjps([logits], [scatter_to_rows(error, batch, len(logits))])
        return step
