"""Backpropagation, the reference that the other rules are compared with."""

from __future__ import annotations

import functools
import math
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from dfa_cli.devices.base import ProjectionDevice
from dfa_cli.kernels.sparse import SparseMatrix
from dfa_cli.kernels.vjp import accumulate_vjp
from dfa_cli.models.base import Model
from dfa_cli.models.batch import Batch
from dfa_cli.models.forward_state import ForwardState
from dfa_cli.rules.base import KEEP, Step, loss_and_error


class Backpropagation:
    """Backpropagation: every block learns from the true gradient, which passes from the last block to the first.

        dL/dh_{i-1} = J_i^T dL/dh_i      with J_i the Jacobian of block i

    Nothing is projected, so the device is not used. Rumelhart, Hinton & Williams 1986.

    `activations`: with `recompute` only the inputs of about `sqrt(n)` segments of the `n` blocks are held. The backward
    pass computes each segment again when it comes to it (gradient checkpointing, Chen et al. 2016, arXiv 1604.06174).
    The last segment comes first in the backward pass, so it is not computed again.
    """

    activations = KEEP  # also of a subclass with an `__init__` of its own
    edges: int | None = None  # how far from the labelled rows the error of the first block reaches, if known

    def __init__(self, activations: str = KEEP):
        self.activations = activations

    def prepare(self, model: Model, classes: int, device: ProjectionDevice, compute: torch.device) -> None:
        self.edges = model.edges_of_error()
        if self.activations != KEEP:
            # Checkpointing imports it, for a second. That must not count as time of the first training step.
            import torch._dynamo  # noqa: F401

    def backward(self, model: Model, batch: Batch) -> Step:
        batch = batch if self.edges is None else batch.near(self.edges)
        logits = model(batch) if self.activations == KEEP else _checkpointed(model, batch)
        step, error = loss_and_error(logits, batch.targets)
        accumulate_vjp(logits, error)
        return step


def _checkpointed(model: Model, batch: Batch) -> Tensor:
    """Compute the logits as `model.forward` does, and let the backward pass compute most segments again."""
    from torch.utils.checkpoint import checkpoint

    blocks = range(len(model.blocks))
    length = math.ceil(len(blocks) ** 0.5)
    *segments, last = (blocks[i : i + length] for i in blocks[::length])
    h = batch.x
    for segment in segments:
        # `_contexts` puts back all generators, those of `preserve_rng_state` among them.
        h = checkpoint(
            _through,
            model,
            segment,
            h,
            batch,
            use_reentrant=False,
            preserve_rng_state=False,
            context_fn=functools.partial(_contexts, model, segment, batch.y.device),
        )
    return _through(model, last, h, batch)


def _contexts(
    model: Model, segment: range, device: torch.device
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return a context for the forward pass of the segment, which is about to begin, and one for its repetition."""
    blocks = nn.Sequential(*(model.blocks[i] for i in segment))
    return nullcontext(), ForwardState(blocks, device).again()


def _through(model: Model, segment: range, h: Tensor | SparseMatrix, batch: Batch) -> Tensor:
    for i in segment:
        h = model.output(i, h, batch)
    assert isinstance(h, Tensor)
    return h
