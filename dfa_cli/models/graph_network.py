"""Graph networks built from any convolution of torch_geometric."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from dfa_cli.errors import DfaError
from dfa_cli.kernels.sparse import SparseMatrix
from dfa_cli.models.base import Block, Model, ModelShape
from dfa_cli.models.batch import Graph


class Convolution(nn.Module):
    """A layer that calls a torch_geometric convolution as `conv(h, edge_index)`, on dense features."""

    def __init__(self, conv: nn.Module):
        super().__init__()
        self.conv = conv
        self.matmul_dtype: torch.dtype | None = None

    def forward(self, h: Tensor | SparseMatrix, graph: Graph | None) -> Tensor:
        assert graph is not None
        h = h.dense if isinstance(h, SparseMatrix) else h
        with graph.fixed_order if h.is_cuda else nullcontext():
            if self.matmul_dtype is None:
                return self.conv(h.to(next(self.parameters()).dtype), graph.edge_index)
            with torch.autocast(h.device.type, self.matmul_dtype):
                return self.conv(h, graph.edge_index)


class GraphNetwork(Model):
    """A graph network built from any torch_geometric convolution whose arguments begin with `(in, out, ...)`.

        h_i = act(conv_i(dropout(h_{i-1}), edges))      the last block without act

    `conv`: the convolution with its keyword arguments bound (`_partial_: true` in a YAML file). `last`: the keyword
    arguments that differ in the last block, such as `heads: 1`. `hidden`: the `out_channels` of the hidden blocks; with
    `heads` attention heads side by side, a block is `heads` times as wide. Raises `DfaError` for arguments that the
    convolution refuses.
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
        # torch_geometric can draw its weights only from torch's global generator. `fork_rng` restores it afterwards.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(sizes.weights.initial_seed())
            for i, channels in enumerate([*hidden, sizes.classes]):
                is_last = i == len(hidden)
                layer, width = _make_convolution(conv, width, channels, last if is_last else {})
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
                f"The last block gives {width} columns for {sizes.classes} classes. model.last must set what differs "
                "in the last convolution, such as heads: 1."
            )
        super().__init__(blocks, sizes.dropout)


def _make_convolution(
    conv: Callable[..., nn.Module], inputs: int, channels: int, more: Mapping[str, Any]
) -> tuple[nn.Module, int]:
    """Build a convolution and find its width. `more` holds further keyword arguments.

    Raises `DfaError` with the message of the convolution when it refuses the arguments.
    """
    try:
        layer = conv(inputs, channels, **more)
        return layer, _output_width(layer, inputs)
    except (AssertionError, ArithmeticError, RuntimeError, ValueError) as error:
        name = getattr(getattr(conv, "func", conv), "__name__", "the convolution")
        raise DfaError(
            f"{name} cannot be built with these keys of model.conv ({str(error) or type(error).__name__})."
        ) from error


def _output_width(conv: nn.Module, inputs: int) -> int:
    """Find the number of columns that `conv` gives, by calling it on a graph of two connected nodes.

    It cannot be computed from `out_channels`: attention heads may be averaged or set side by side.
    """
    # A copy of a layer of torch_geometric 2.6 draws weights, which must not change those of the next block.
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        # A copy is called, because a convolution that caches its graph would keep these two nodes.
        h = copy.deepcopy(conv).eval()(torch.zeros(2, inputs), torch.tensor([[0, 1], [1, 0]]))
    return int(h.shape[-1])
