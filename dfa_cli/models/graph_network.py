"""Graph networks made of any torch_geometric convolution."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dfa_cli.errors import DfaError
from dfa_cli.kernels.sparse import SparseMatrix
from dfa_cli.models.base import Block, Model, ModelShape
from dfa_cli.models.batch import Graph


class Convolution(nn.Module):
    """A torch_geometric convolution, called as `conv(h, edge_index)` on dense features."""

    def __init__(self, conv: nn.Module):
        super().__init__()
        self.conv = conv
        self.matmul_dtype: torch.dtype | None = None

    def forward(self, h: Tensor | SparseMatrix, graph: Graph | None) -> Tensor:
        assert graph is not None
        h = h.dense if isinstance(h, SparseMatrix) else h
        if self.matmul_dtype is None:
            return self.conv(h.to(next(self.parameters()).dtype), graph.edge_index)
        with torch.autocast(h.device.type, self.matmul_dtype):
            return self.conv(h, graph.edge_index)


class GraphNetwork(Model):
    """`h_i = act(conv_i(dropout(h_{i-1}), edges))` for any convolution with the arguments `(in, out, ...)`.

    `conv`: the convolution, its keywords bound (`_partial_: true` in a YAML); `last`: the keywords that the last
    block changes, such as `heads: 1`; `hidden`: the `out_channels` of the hidden blocks (with `heads` attention heads
    side by side, a block is `heads` times as wide). Raises `DfaError` for values that the convolution does not take.
    """

    def __init__(
        self,
        sizes: ModelShape,
        conv: Callable[..., nn.Module],
        last: Mapping[str, Any],
        hidden: Sequence[int],
        activation: str,
        dropout: float,
        input_dropout: float,
    ):
        blocks: list[Block] = []
        width = sizes.features
        # torch_geometric draws its weights from the global generator and offers no other way
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(sizes.weights.initial_seed())
            for i, channels in enumerate([*hidden, sizes.classes]):
                is_last = i == len(hidden)
                layer, width = _made(conv, width, channels, last if is_last else {})
                blocks.append(
                    Block(
                        Convolution(layer),
                        width,
                        None if is_last else activation,
                        dropout if i else input_dropout,
                    )
                )
        if width != sizes.classes:
            raise DfaError(
                f"The last block gives {width} columns for {sizes.classes} classes: model.last is to say what its "
                "convolution changes, such as heads: 1."
            )
        super().__init__(blocks, sizes.dropout)


def _made(
    conv: Callable[..., nn.Module], inputs: int, channels: int, more: Mapping[str, Any]
) -> tuple[nn.Module, int]:
    """The convolution and its width, or what is wrong with its keywords."""
    try:
        layer = conv(inputs, channels, **more)
        return layer, _width_of(layer, inputs)
    except (AssertionError, ArithmeticError, RuntimeError, ValueError) as error:
        name = getattr(getattr(conv, "func", conv), "__name__", "the convolution")
        raise DfaError(
            f"{name} cannot be made with these keys of model.conv ({str(error) or type(error).__name__})."
        ) from error


def _width_of(conv: nn.Module, inputs: int) -> int:
    """Columns that `conv` really gives, tried on two connected nodes: heads may be averaged or set side by side."""
    with torch.no_grad():
        # a copy: a convolution that caches its graph would keep this one
        h = copy.deepcopy(conv).eval()(torch.zeros(2, inputs), torch.tensor([[0, 1], [1, 0]]))
    return int(h.shape[-1])
