"""Base classes of all models. A model is a list of blocks, `h_i = block_i(h_{i-1})`; the last gives the logits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn

from dfa_cli.errors import DfaError
from dfa_cli.kernels.activations import ACTIVATIONS
from dfa_cli.kernels.sparse import SparseMatrix
from dfa_cli.models.batch import Batch, Graph
from dfa_cli.models.dropout import Dropout
from dfa_cli.seeding import generator as stream


class Block(nn.Module):
    """One trainable layer, with dropout before it and an activation after it.

        h_i = activation(layer(dropout(h_{i-1})))

    `width` is the number of columns of `h_i`. `activation` is a key of `ACTIVATIONS`, or `None` for a linear block.
    """

    def __init__(self, layer: nn.Module, width: int, activation: str | None, dropout: float):
        super().__init__()
        self.dropout = Dropout(dropout)
        self.layer = layer
        self.width = width
        self.activation = ACTIVATIONS[activation] if activation else None

    def forward(self, h: Tensor | SparseMatrix, graph: Graph | None) -> Tensor:
        h = self.dropout(h)
        # A layer with a method `activated` computes its output and the activation in one pass, which is faster.
        activated = getattr(self.layer, "activated", None)
        if activated is not None and self.activation is not None:
            return activated(h, graph, self.activation)
        return self.activate(self.layer(h, graph))

    def activate(self, z: Tensor) -> Tensor:
        return z if self.activation is None else self.activation(z)

    def matrices(self) -> dict[str, Tensor]:
        """Return the weight matrices of the layer by name: its parameters with two or more dimensions, not biases."""
        return {name: weight for name, weight in self.layer.named_parameters() if weight.dim() > 1}


class Model(nn.Module):
    """A network as a list of blocks. Training rules ask for one `output` after another; `forward` gives the logits.

    `generator` gives each block a stream of its own for its dropout masks, which depends on the seed of the generator
    and on the place of the block. So the masks of a block are the same whichever other blocks are computed, and in
    which order. Without a generator the blocks keep the streams that they have.
    """

    blocks: Sequence[Block]  # an nn.ModuleList, typed by what it holds

    def __init__(self, blocks: Sequence[Block], generator: torch.Generator | None = None):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)  # type: ignore[assignment]
        if generator is None:
            return
        for i, block in enumerate(blocks):
            of_block = stream(generator.initial_seed(), f"block {i}", generator.device)
            for module in block.modules():
                if isinstance(module, Dropout) and module.p:  # others never draw
                    module.generator = of_block

    @property
    def widths(self) -> list[int]:
        """Widths of the hidden blocks, which are also the widths that the error is projected to."""
        return [block.width for block in self.blocks[:-1]]

    def edges_of_error(self) -> int | None:
        """Return along how many edges the error passes from the logits to the output of the first block.

        A layer has this number in an attribute `edges`. `None`: one of the layers has no such attribute.
        """
        edges = [getattr(block.layer, "edges", None) for block in self.blocks]
        return None if None in edges else sum(edges[1:])  # type: ignore[arg-type]

    def set_matmul_dtype(self, dtype: torch.dtype) -> None:
        """Let the hidden blocks multiply in `dtype`; parameters and their gradients keep their own type.

        The activations of the hidden blocks then have the type `dtype`. The last block keeps its type, and so do the
        logits, the loss, the error and its projection. These are a small part of the work, and every gradient is
        computed from them. Sparse products keep their type too. Raises `DfaError` for a layer without the attribute
        `matmul_dtype`.
        """
        for block in self.blocks[:-1]:
            if not hasattr(block.layer, "matmul_dtype"):
                kind = type(block.layer).__name__
                raise DfaError(
                    f"The layer {kind} cannot multiply in bfloat16: it has no attribute `matmul_dtype`. "
                    "Use precision=fp32."
                )
            block.layer.matmul_dtype = dtype  # type: ignore[assignment]

    def output(self, i: int, h: Tensor | SparseMatrix, batch: Batch) -> Tensor:
        """Compute the output of block `i` from its input `h`. The last block computes the labelled rows only."""
        block = self.blocks[i]
        if batch.rows is None or i < len(self.blocks) - 1:
            return block(h, batch.graph)
        if batch.graph is not None and getattr(block.layer, "gives_some_rows", False):
            return block(h, batch.labelled)
        return block(h, batch.graph).index_select(0, batch.rows)

    def forward(self, batch: Batch) -> Tensor:
        """Compute the logits of the labelled rows `[labelled, classes]`."""
        h = batch.x
        for i in range(len(self.blocks)):
            h = self.output(i, h, batch)
        assert isinstance(h, Tensor)
        return h


def glorot_(weight: Tensor, generator: torch.Generator | None) -> Tensor:
    """Fill `weight` in place with uniform values in `+-sqrt(6 / (fan_in + fan_out))` (Glorot & Bengio 2010)."""
    bound = (6.0 / (weight.shape[0] + weight.shape[1])) ** 0.5
    with torch.no_grad():
        return weight.uniform_(-bound, bound, generator=generator)


@dataclass(frozen=True)
class ModelShape:
    """What a model needs to know of its surroundings.

    `features`: the number of input columns. `classes`: the number of classes. `weights`: the generator that draws the
    initial weights. `dropout`: the generator from whose seed each block gets a stream for its dropout masks.
    """

    features: int
    classes: int
    weights: torch.Generator = field(default_factory=torch.Generator)
    dropout: torch.Generator | None = None


def stack_blocks(
    layer: Callable[[int, int, torch.Generator], nn.Module],
    sizes: ModelShape,
    hidden: Sequence[int],
    activation: str,
    dropout: float,
    input_dropout: float,
) -> list[Block]:
    """Build the blocks of a model from one kind of layer, `layer(inputs, width, generator)`.

    `hidden` lists the widths of the hidden blocks. The first block drops its input with probability `input_dropout`,
    the others with `dropout`. The last block has the width `sizes.classes` and no activation.
    """
    widths = [sizes.features, *hidden, sizes.classes]
    return [
        Block(
            layer(inputs, width, sizes.weights),
            width,
            activation if i < len(hidden) else None,
            dropout if i else input_dropout,
        )
        for i, (inputs, width) in enumerate(pairwise(widths))
    ]
