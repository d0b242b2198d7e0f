"""Direct feedback alignment."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from dfa_cli.devices.base import ProjectionDevice
from dfa_cli.devices.parts import project_parts
from dfa_cli.models.base import Model
from dfa_cli.models.batch import Batch
from dfa_cli.rules.base import KEEP, Step, require_chain, scatter_to_rows
from dfa_cli.rules.blockwise import train_blocks


class DirectFeedbackAlignment:
    """Direct feedback alignment (DFA): every hidden block learns from a fixed random projection of the output error.

        h_i = block_i(h_{i-1})                    autograd stops at the border of each block
        dL/dW_i  <-  (d h_i / d W_i)^T  e B_i     for i < last
        dL/dW_last = (d h_last / d W_last)^T e

    The gradient of a hidden block is the vector-Jacobian product of the block with `e B_i`. The gradient of the last
    block is the true one. `e` `[rows, classes]` is the gradient of the loss with respect to the logits. `B_i`
    `[classes, width_i]` is a fixed random matrix with standard deviation `scale / sqrt(width_i)`.

    No block waits for another. One projection of `e`, `[rows, classes] -> [rows, sum of widths]`, serves all blocks,
    and their gradients can be computed in any order. The projection is read one block after another, so it is never
    held as a whole. Rows without a label have no error: they are not projected and cost no frame on an optical device.

    `share_columns`: the projection is only as wide as the widest block, and block `i` reads the first `width_i` columns
    of it. By default no two blocks read the same column.

    `spread_over_edges` (graphs only): the feedback of block `i` is multiplied by the transposed normalised adjacency
    `A'^T`, once for each block above block `i`. Unlabelled neighbours of labelled nodes then get feedback too. That the
    feedback follows the edges is an idea of DFA-GNN (Zhao et al. 2024, arXiv 2406.02040), which also generates pseudo
    errors for unlabelled nodes; this rule does not. By default only labelled nodes get feedback.

    Nokland 2016 (arXiv 1609.01596); Launay et al. 2020 (arXiv 2012.06373).
    """

    activations = KEEP  # see `CanRecompute`

    def __init__(self, scale: float = 1.0, share_columns: bool = False, spread_over_edges: bool = False):
        self.scale = scale
        self.share_columns = share_columns
        self.spread_over_edges = spread_over_edges

    def prepare(self, model: Model, classes: int, device: ProjectionDevice, compute: torch.device) -> None:
        require_chain(model)
        self.device = device
        self.slices = _slices(model.widths, self.share_columns)
        self.scales = [self.scale / width**0.5 for width in model.widths]
        own_feedback = type(self).feedback is not DirectFeedbackAlignment.feedback
        # How far from the labelled rows a block reads its feedback, if it is certain that no other rows get any.
        spreads = self.spread_over_edges or own_feedback
        self.edges = None if spreads else model.edges_of_error(through_blocks=False)
        if self.slices:
            device.prepare(classes, max(s.stop for s in self.slices), compute)

    def backward(self, model: Model, batch: Batch) -> Step:
        batch = batch if self.edges is None else batch.near(self.edges)
        return train_blocks(model, batch, self.feedback, self.activations)

    def feedback_matrices(self) -> list[Tensor]:
        """Return `B_i` `[classes, width_i]` of each hidden block, in order."""
        if not self.slices:
            return []
        matrix = self.device.matrix()
        return [matrix[:, columns] * scale for columns, scale in zip(self.slices, self.scales, strict=True)]

    def projected_signal(self, error: Tensor, batch: Batch) -> Tensor:
        """Return what the device projects, `[labelled, classes]`: the error. Override it to project something else."""
        return self.teaching(error, batch)

    def teaching(self, error: Tensor, batch: Batch) -> Tensor:
        """The earlier name of `projected_signal`. Subclasses that override it still work."""
        return error

    def feedback(
        self, error: Tensor, batch: Batch, rows: int, blocks: Sequence[int] | None = None
    ) -> Iterator[Tensor]:
        """Return `e B_i` `[rows, width_i]` of each hidden block, in order. Each is valid until the next is asked for.

        `blocks`: the numbers of the blocks that are wanted, from 0; `None` means all hidden blocks. The error is shown
        to the device once.
        """
        wanted = range(len(self.slices)) if blocks is None else blocks
        if not wanted:
            return iter(())
        signal = self.projected_signal(error, batch)
        spans = [(self.slices[i].start, self.slices[i].stop) for i in wanted]
        if self.share_columns:
            shared = next(project_parts(self.device, signal, [(0, max(s.stop for s in self.slices))]))
            parts = (shared[:, first:last].clone() for first, last in spans)
        else:
            parts = project_parts(self.device, signal, spans)
        # `map` keeps no part after its function has returned. A loop would keep it until the next one is there.
        return map(functools.partial(self._feedback_of, batch, rows), wanted, parts)

    def _feedback_of(self, batch: Batch, rows: int, i: int, part: Tensor) -> Tensor:
        """Turn the projection of the labelled rows, which may be overwritten, into the feedback of hidden block `i`."""
        signal = scatter_to_rows(part.mul_(self.scales[i]), batch, rows)
        if self.spread_over_edges and batch.graph is not None:
            for _ in range(len(self.slices) - i):
                signal = batch.graph.adjacency.transpose_matmul(signal)
        return signal


def _slices(widths: list[int], share_columns: bool) -> list[slice]:
    """Return the columns of the projection that each hidden block reads."""
    if share_columns:
        return [slice(0, width) for width in widths]
    stops = [sum(widths[: i + 1]) for i in range(len(widths))]
    return [slice(stop - width, stop) for stop, width in zip(stops, widths, strict=True)]
