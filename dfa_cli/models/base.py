"""What a model is: a list of blocks, `h_i = block_i(h_{i-1})`, the last of which gives the logits."""

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


class Block(nn.Module):
    """`h_i = activation(layer(dropout(h_{i-1})))`; `width` is the number of columns of `h_i`."""

    def __init__(self, layer: nn.Module, width: int, activation: str | None, dropout: float):
        super().__init__()
        self.dropout = Dropout(dropout)
        self.layer = layer
        self.width = width
        self.activation = ACTIVATIONS[activation] if activation else None

    def forward(self, h: Tensor | SparseMatrix, graph: Graph | None) -> Tensor:
        h = self.dropout(h)
        in_one_pass = getattr(self.layer, "activated", None)  # a layer may have a faster way to both
        if in_one_pass is not None and self.activation is not None:
            return in_one_pass(h, graph, self.activation)
        return self.activate(self.layer(h, graph))

    def activate(self, z: Tensor) -> Tensor:
        return z if self.activation is None else self.activation(z)

    def matrices(self) -> dict[str, Tensor]:
        """The weights of the layer that multiply, by name: all its parameters with two dimensions or more."""
        return {name: weight for name, weight in self.layer.named_parameters() if weight.dim() > 1}


class Model(nn.Module):
    """A list of blocks. Rules go through `blocks` one by one; `forward` is for whoever wants the logits only."""

    blocks: Sequence[Block]  # an nn.ModuleList, typed by what it holds

    def __init__(self, blocks: Sequence[Block], generator: torch.Generator | None = None):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)  # type: ignore[assignment]
        for module in self.modules():
            if isinstance(module, Dropout):
                module.generator = generator

    @property
    def widths(self) -> list[int]:
        """Width of each hidden block: what the feedback has to be projected to."""
        return [block.width for block in self.blocks[:-1]]

    def set_matmul_dtype(self, dtype: torch.dtype) -> None:
        """Let the hidden blocks multiply in `dtype`, with parameters and gradients as they are.

        Their activations then have that type too. The last block stays as it is, and with it the logits, the loss,
        the error and its projection: they are a small part of the work, and what every gradient is made of. Sparse
        products stay as they are, too. Raises `DfaError` for a layer that has no such choice.
        """
        for block in self.blocks[:-1]:
            if not hasattr(block.layer, "matmul_dtype"):
                kind = type(block.layer).__name__
                raise DfaError(
                    f"precision=bf16 does not fit {kind}, which has no `matmul_dtype`; use precision=fp32."
                )
            block.layer.matmul_dtype = dtype  # type: ignore[assignment]

    def forward(self, batch: Batch) -> Tensor:
        """Logits `[rows, classes]`."""
        h = batch.x
        for block in self.blocks:
            h = block(h, batch.graph)
        assert isinstance(h, Tensor)
        return h


def glorot_(weight: Tensor, generator: torch.Generator | None) -> Tensor:
    """Uniform in `+-sqrt(6 / (fan_in + fan_out))`, in place (Glorot & Bengio 2010)."""
    bound = (6.0 / (weight.shape[0] + weight.shape[1])) ** 0.5
    with torch.no_grad():
        return weight.uniform_(-bound, bound, generator=generator)


@dataclass(frozen=True)
class ModelShape:
    """What a model has to fit: columns of the input, classes of the output, and its sources of randomness."""

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
    """Blocks of one kind of layer, `layer(inputs, width, generator)`, from the features to the classes.

    The first block drops of its input `input_dropout`, the others `dropout`; the last has no activation.
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
