"""A step that computes only what the labelled rows need has the numbers of one that computes everything."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator

import pytest
import torch
from networks import CLASSES, FEATURES, LABELLED, Given, drawn, graph, same
from torch import Tensor
from torch_geometric.nn import GATConv

from dfa_cli.kernels.sparse import SparseMatrix
from dfa_cli.models import Batch, FullyConnected, GraphConvolutional, GraphNetwork, Model
from dfa_cli.models.base import Block, ModelShape, glorot_
from dfa_cli.models.batch import Graph
from dfa_cli.models.fully_connected import Linear
from dfa_cli.models.graph_convolutional import GraphConvolution
from dfa_cli.rules import Backpropagation, DirectFeedbackAlignment, LearningRule, Shallow
from dfa_cli.rules.base import cross_entropy
from dfa_cli.seeding import generator

NODES = 300
ROWS = torch.arange(0, NODES, 23)


class Everywhere(DirectFeedbackAlignment):
    """Gives the nodes without a label a signal too."""

    def feedback(self, error: Tensor, batch: Batch, rows: int, blocks=None) -> Iterator[Tensor]:
        for signal in super().feedback(error, batch, rows, blocks):
            yield signal + 0.1


RULES = {
    "bp": Backpropagation,
    "bp recompute": functools.partial(Backpropagation, "recompute"),
    "dfa": DirectFeedbackAlignment,
    "dfa spread": functools.partial(DirectFeedbackAlignment, spread_over_edges=True),
    "signals everywhere": Everywhere,
    "shallow": Shallow,
}


def batch(sparse: bool) -> Batch:
    x = torch.randn(NODES, FEATURES, generator=generator(5, "x")).relu_()
    y = torch.randint(CLASSES, (NODES,), generator=generator(6, "y"))
    edges = graph(NODES).edge_index
    return Batch(SparseMatrix.from_tensor(x.to_sparse_coo()) if sparse else x, y, ROWS, Graph(edges, NODES))


def network(hidden: list[int]) -> GraphConvolutional:
    sizes = ModelShape(FEATURES, CLASSES, generator(0, "weights"), generator(0, "dropout"))
    return GraphConvolutional(sizes, hidden, "relu", dropout=0.5, input_dropout=0.3)


def step(rule: LearningRule, hidden: list[int], sparse: bool) -> list[Tensor]:
    """Return the loss and the gradients of one step. A hidden block that learns nothing has none."""
    model = network(hidden)
    rule.prepare(model, CLASSES, Given(lambda *shape: drawn(*shape).float()), torch.device("cpu"))
    loss = rule.backward(model, batch(sparse)).loss
    return [loss, *(p.grad for p in model.parameters() if p.grad is not None)]


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("hidden", [[16], [3], [24, 9, 7]], ids=str)
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_gradients_are_those_of_computing_all_rows(
    rule: type[LearningRule], hidden: list[int], sparse: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = step(rule(), hidden, sparse)
    monkeypatch.setattr(GraphConvolution, "gives_some_rows", False)
    monkeypatch.setattr(GraphConvolution, "edges", None)
    whole = step(rule(), hidden, sparse)
    assert len(short) == len(whole)
    for found, expected in zip(short, whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


class Hops(torch.nn.Module):
    """Mixes each node with those up to `hops` edges away: `A'^hops h W`."""

    def __init__(self, inputs: int, width: int, hops: int, generator: torch.Generator):
        super().__init__()
        self.weight = torch.nn.Parameter(glorot_(torch.empty(inputs, width), generator))
        self.edges = self.hops = hops

    def forward(self, h: Tensor | SparseMatrix, graph: Graph | None) -> Tensor:
        assert graph is not None
        z = h @ self.weight
        for _ in range(self.hops):
            z = graph.adjacency @ z
        return z


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("hops", [[2, 2, 2], [3, 0, 1], [1, 2, 1], [2, 1, 0]], ids=str)
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_layers_that_reach_over_several_edges_get_the_gradients_of_all_rows(
    rule: type[LearningRule], hops: list[int], sparse: bool
) -> None:
    def gradients(tells_edges: bool) -> list[Tensor]:
        draws, widths = generator(0, "weights"), [FEATURES, 6, 6, CLASSES]
        layers = [Hops(n, m, k, draws) for (n, m), k in zip(itertools.pairwise(widths), hops, strict=True)]
        for layer in layers:
            layer.edges = layer.hops if tells_edges else None  # type: ignore[assignment]
        model = Model([Block(layer, layer.weight.shape[1]) for layer in layers])
        made = rule()
        made.prepare(model, CLASSES, Given(lambda *shape: drawn(*shape).float()), torch.device("cpu"))
        made.backward(model, batch(sparse))
        return [p.grad for p in model.parameters() if p.grad is not None]

    for found, expected in zip(gradients(True), gradients(False), strict=True):
        assert expected.abs().max() > 1e-5
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["gcn", "gat", "fc", "mixed"])
def test_logits_and_true_gradients_of_labelled_rows_are_those_of_the_whole_graph(kind: str) -> None:
    """The expected gradients are those of torch's autograd through the logits of all rows, in double precision."""

    def model() -> Model:
        sizes = ModelShape(FEATURES, CLASSES, generator(0, "weights"))
        if kind == "gat":
            made = GraphNetwork(
                sizes, functools.partial(GATConv, heads=2), {"heads": 1}, [4], "tanh", 0.0, 0.0
            )
        elif kind == "mixed":
            layers = (GraphConvolution(FEATURES, 8, sizes.weights), Linear(8, CLASSES, sizes.weights))
            made = Model([Block(layers[0], 8, "tanh", 0.0), Block(layers[1], CLASSES, None, 0.0)])
        else:
            made = (GraphConvolutional if kind == "gcn" else FullyConnected)(sizes, [8], "tanh", 0.0, 0.0)
        return made.double()

    nodes = graph()
    x = torch.randn(nodes.nodes, FEATURES, generator=generator(5, "x"), dtype=torch.float64)
    y = torch.arange(nodes.nodes) % CLASSES
    plain = model()
    logits = plain(Batch(x, y, None, nodes))
    _, error = cross_entropy(logits.detach()[LABELLED], y[LABELLED])
    logits.backward(torch.zeros_like(logits).index_copy_(0, LABELLED, error))
    short, rule = model(), Backpropagation()
    data = Batch(x, y, LABELLED, nodes)
    torch.testing.assert_close(short(data), logits[LABELLED], rtol=1e-9, atol=1e-12)
    rule.prepare(short, CLASSES, Given(drawn), torch.device("cpu"))
    rule.backward(short, data)
    found, expected = ({n: p.grad for n, p in made.named_parameters()} for made in (short, plain))
    same(found, expected)
