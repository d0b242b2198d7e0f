"""Graph networks built from any convolution of torch_geometric."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from dfa_cli.errors import DfaError
from dfa_cli.kernels.sparse import SparseMatrix
from dfa_cli.models.base import Block, Model, ModelShape
from dfa_cli.models.batch import Graph

SIZES = ["in_channels", "out_channels"]  # the first arguments of most convolutions of torch_geometric


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
                layer, width = _make_convolution(conv, width, channels, last, is_last)
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
                "in the last convolution, such as heads: 1, which +model.last.heads=1 sets."
            )
        super().__init__(blocks, sizes.dropout)


def _make_convolution(
    conv: Callable[..., nn.Module], inputs: int, channels: int, last: Mapping[str, Any], is_last: bool
) -> tuple[nn.Module, int]:
    """Build a convolution and find its width. `last`: the keyword arguments that differ if it is the last one.

    Raises `DfaError` for a convolution that is not made from `(in_channels, out_channels, ...)`, and with its own
    message when it refuses the arguments, or features and edges alone.
    """
    target = getattr(conv, "func", conv)
    name = getattr(target, "__name__", "the convolution")
    parameters = inspect.signature(target).parameters.values()
    names = [one.name for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    # A class of somebody else may have other names for the two.
    if str(getattr(target, "__module__", "")).startswith("torch_geometric.") and names[:2] != SIZES:
        raise DfaError(
            f"{name} is made from ({', '.join(names)}), and model.conv needs a convolution that is made from "
            f"({', '.join(SIZES)}, ...), as SAGEConv is. Name another one, or a class of your own that makes "
            f"{name} from these two."
        )
    try:
        layer = conv(inputs, channels, **(last if is_last else {}))
        return layer, _output_width(layer, inputs)
    except (AssertionError, ArithmeticError, RuntimeError, TypeError, ValueError) as error:
        raise DfaError(_refusal(name, conv, last, error)) from error


def _refusal(name: str, conv: Callable[..., nn.Module], last: Mapping[str, Any], error: Exception) -> str:
    """Say why a convolution cannot be built."""
    unexpected = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    missing = re.search(r"__init__\(\) missing .*: (.*)", str(error))
    called = re.search(r"forward\(\) .*", str(error))
    if unexpected:
        key = unexpected[1]
        nodes = {"model.conv": getattr(conv, "keywords", {}), "model.last": last}
        words = [f"~{place}.{key}" for place, keys in nodes.items() if key in keys]
        return f"{name} does not take {key}; leave it out: type {' '.join(words)} as well."
    if missing:
        keys = re.findall(r"'(\w+)'", missing[1])
        return f"{name} needs {', '.join(keys)} too: type {' '.join(f'+model.conv.{key}=VALUE' for key in keys)}."
    if called:
        return f"{name} cannot be called with features and edges, as model.conv is ({called[0]}); name another one."
    return f"{name} cannot be built with these keys of model.conv ({str(error) or type(error).__name__})."


def _output_width(conv: nn.Module, inputs: int) -> int:
    """Find the number of columns that `conv` gives, by calling it on a graph of two connected nodes.

    It cannot be computed from `out_channels`: attention heads may be averaged or set side by side.
    """
    # A copy of a layer of torch_geometric 2.6 draws weights, which must not change those of the next block.
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        # A copy is called, because a convolution that caches its graph would keep these two nodes.
        h = copy.deepcopy(conv).eval()(torch.zeros(2, inputs), torch.tensor([[0, 1], [1, 0]]))
    return int(h.shape[-1])
