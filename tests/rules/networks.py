"""Small networks in double precision, in which two ways to compute a gradient differ only by rounding."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dfa_cli.devices import Cost
from dfa_cli.kernels.sparse import SparseMatrix
from dfa_cli.models import Batch, FullyConnected, GraphConvolutional, Model
from dfa_cli.models.base import Block, ModelShape
from dfa_cli.models.batch import Graph
from dfa_cli.models.fully_connected import Linear
from dfa_cli.models.graph_convolutional import GraphConvolution
from dfa_cli.rules import LearningRule
from dfa_cli.seeding import generator

ROWS, FEATURES, CLASSES = 24, 11, 5
LABELLED = torch.tensor([0, 1, 4, 7, 12, 13, 19])


class Given:
    """A projection device with a given matrix `B`, which records what it projects."""

    def __init__(self, make: Callable[[int, int], Tensor]):
        self.make = make
        self.asked: list[Tensor] = []

    def prepare(self, n_in: int, n_out: int, compute: torch.device) -> None:
        self.b = self.make(n_in, n_out)
        assert self.b.shape == (n_in, n_out), f"the rule asks for {n_in} x {n_out}"

    def project(self, error: Tensor) -> Tensor:
        self.asked.append(error.clone())
        return error @ self.b.to(error.dtype)

    def matrix(self) -> Tensor:
        return self.b

    def state_dict(self) -> dict[str, Tensor]:
        return {"matrix": self.b}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.b = state["matrix"]

    def cost(self) -> Cost:
        return Cost(rows=sum(map(len, self.asked)))


class NoDevice:
    """A device for rules that need no projection. Every use of it fails."""

    def __getattr__(self, name: str) -> None:
        raise AssertionError(f"the rule used {name} of its projection device")


def drawn(n_in: int, n_out: int) -> Tensor:
    return torch.randn(n_in, n_out, generator=generator(3, "feedback"), dtype=torch.float64)


def graph(nodes: int = ROWS) -> Graph:
    source, target = torch.randint(nodes - 1, (2, 3 * nodes), generator=generator(4, "edges"))
    one_way = torch.stack([source, target])[:, source != target]  # the last node has no edges
    made = Graph(torch.cat([one_way, one_way.flip(0)], 1).unique(dim=1), nodes)
    made.__dict__["adjacency"] = SparseMatrix.from_tensor(made.adjacency.csr.double())
    return made


def batch(kind: str) -> Batch:
    """Return a batch. Every row of `samples` has a label, but only some rows of `graph` have one."""
    x = torch.randn(ROWS, FEATURES, generator=generator(5, "x"), dtype=torch.float64)
    y = torch.randint(CLASSES, (ROWS,), generator=generator(6, "y"))
    return Batch(x, y) if kind == "samples" else Batch(x, y, LABELLED, graph())


def network(
    kind: str,
    hidden: Sequence[int],
    activation: str | None,
    dropout: float = 0.0,
    input_dropout: float = 0.0,
) -> Model:
    """Build a network with the same weights and dropout generator in every call. `activation=None` is linear."""
    sizes = ModelShape(FEATURES, CLASSES, generator(0, "weights"), generator(0, "dropout"))
    if activation is None:
        layer = Linear if kind == "samples" else GraphConvolution
        widths = [FEATURES, *hidden, CLASSES]
        blocks = [
            Block(layer(n, width, sizes.weights), width, None, dropout if i else input_dropout)
            for i, (n, width) in enumerate(itertools.pairwise(widths))
        ]
        model = Model(blocks, sizes.dropout)
    else:
        made = FullyConnected if kind == "samples" else GraphConvolutional
        model = made(sizes, hidden, activation, dropout, input_dropout)
    with torch.no_grad():
        for block in model.blocks:
            block.get_parameter("layer.bias").uniform_(-0.3, 0.3, generator=sizes.weights)
    return model.double().train()


def gradients(model: Model, rule: LearningRule, device: object, data: Batch) -> dict[str, Tensor | None]:
    """Return `.grad` of every parameter by name after one `backward`."""
    rule.prepare(model, CLASSES, device, torch.device("cpu"))  # type: ignore[arg-type]
    rule.backward(model, data)
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def same(first: dict[str, Tensor | None], second: dict[str, Tensor | None]) -> None:
    """Assert that the gradients are equal up to rounding and that none is missing."""
    assert first.keys() == second.keys()
    for name, gradient in first.items():
        assert gradient is not None, f"{name} has no gradient"
        other = second[name]
        assert other is not None, f"{name} has no gradient"
        assert gradient.abs().max() > 1e-6, f"{name}: a gradient of zeros proves nothing"
        torch.testing.assert_close(gradient, other, rtol=1e-9, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")
