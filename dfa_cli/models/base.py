"""Base classes of all models. A model is a list of blocks, `h_i = block_i(h_{i-1})`; the last gives the logits."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from dfa_cli.errors import DfaError
from dfa_cli.kernels.activations import ACTIVATIONS, DERIVATIVES, Activation
from dfa_cli.kernels.sparse import SparseMatrix
from dfa_cli.models.batch import Batch, Graph
from dfa_cli.models.dropout import Dropout
from dfa_cli.seeding import generator as stream


def said_of(layer: nn.Module, name: str) -> Any:
    """Return what a layer says of its `forward` in the attribute `name`; `None` where it says nothing.

    `activated`, `deterministic`, `edges` and `gives_some_rows` are about the `forward` that they were written for. A
    subclass with a `forward` of its own does not inherit them.
    """
    return (
        getattr(layer, name, None) if name in vars(layer) or _stands_by_forward(type(layer), name) else None
    )


@functools.cache
def _stands_by_forward(kind: type, name: str) -> bool:
    """Tell whether the first class, from `kind` upwards, that has `forward` or `name` has `name`."""
    return name in next((vars(each) for each in kind.__mro__ if {name, "forward"} & vars(each).keys()), ())


class Block(nn.Module):
    """One trainable layer, with dropout before it and an activation after it.

        h_i = activation(layer(dropout(h_{i-1}), graph))

    `width` is the number of columns of `h_i`. `activation` is a key of `ACTIVATIONS`, an elementwise function, or
    `None` for a linear block. `dropout` is the probability with which an entry of the input is dropped.
    """

    def __init__(
        self,
        layer: nn.Module,
        width: int,
        activation: str | Activation | None = None,
        dropout: float = 0.0,
    ):
        super().__init__()
        if isinstance(activation, str):
            if activation not in ACTIVATIONS:
                raise DfaError(
                    f'Block(activation="{activation}"): it must be {", ".join(ACTIVATIONS)}, an elementwise function, '
                    "or None for a linear block."
                )
            activation = ACTIVATIONS[activation]
        self.dropout = Dropout(dropout)
        self.layer = layer
        self.width = width
        self.activation = activation

    def forward(self, h: Tensor | SparseMatrix, graph: Graph | None) -> Tensor:
        h = self.dropout(h)
        # A layer with a method `activated` computes its output and the activation in one pass, which is faster.
        if self.activation in DERIVATIVES and (activated := said_of(self.layer, "activated")) is not None:
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

    def edges_of_error(self, through_blocks: bool = True) -> int | None:
        """Return how many edges away from the labelled rows a backward pass reads an error that is not zero.

        `through_blocks`: the error passes from the logits through all blocks, as in backpropagation. Otherwise each
        block gets a signal that is zero in all but the labelled rows. A layer says in its attribute `edges` from how
        many edges away an input enters an output. In its backward pass the error goes along as many edges, and is read
        before the last one. `None`: one of the layers has no such attribute.
        """
        edges = [said_of(block.layer, "edges") for block in self.blocks]
        if None in edges:
            return None
        if through_blocks:
            return sum(edges[1:]) + max(edges[0] - 1, 0)
        return max(0, *(count - 1 for count in edges))

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
        """Compute the output of block `i` from its input `h`. The last block computes the labelled rows only.

        Raises `DfaError` where the output is not as wide as the block says.
        """
        block = self.blocks[i]
        graph, rows = batch.graph, batch.rows if i == len(self.blocks) - 1 else None
        if graph is not None and rows is not None and said_of(block.layer, "gives_some_rows"):
            graph, rows = batch.labelled, None
        out = block(h, graph)
        if out.shape[-1] != block.width:
            raise DfaError(
                f"Block {i + 1} of {type(self).__name__} has the width {block.width}, and its layer "
                f"{type(block.layer).__name__} gives {out.shape[-1]} columns. The width of a Block is the number of "
                "columns of its output."
            )
        return out if rows is None else out.index_select(0, rows)

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
