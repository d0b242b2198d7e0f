"""The graph convolution equals that of torch_geometric, and so do networks built from its convolutions."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import Tensor
from torch_geometric.nn import GATConv, GCNConv, SAGEConv, SGConv

from dfa_cli.kernels.sparse import SparseMatrix
from dfa_cli.models import Batch, FullyConnected, GraphConvolutional, GraphNetwork
from dfa_cli.models.base import ModelShape
from dfa_cli.models.batch import Graph
from dfa_cli.models.graph_convolutional import GraphConvolution
from dfa_cli.seeding import generator

NODES = 30


def edges(directed: bool = False) -> Tensor:
    """Return the edges of a random graph whose last three nodes have none."""
    source, target = torch.randint(NODES - 3, (2, 80), generator=torch.Generator().manual_seed(1))
    one_way = torch.stack([source, target])[:, source != target]
    return one_way if directed else torch.cat([one_way, one_way.flip(0)], 1).unique(dim=1)


def features(columns: int, sparse: bool) -> Tensor:
    draws = torch.Generator().manual_seed(2)
    x = torch.rand(NODES, columns, generator=draws)
    return x * (torch.rand(NODES, columns, generator=draws) < 0.3) if sparse else x


@pytest.mark.parametrize("directed", [False, True], ids=["undirected", "directed"])
@pytest.mark.parametrize(("inputs", "width"), [(12, 5), (5, 12), (8, 8), (40, 24), (24, 40)])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_a_layer_equals_torch_geometrics_in_outputs_and_gradients(
    sparse: bool, inputs: int, width: int, directed: bool
) -> None:
    layer = GraphConvolution(inputs, width, generator(0, "weights"))
    with torch.no_grad():
        layer.bias.uniform_(generator=generator(0, "bias"))
    reference = GCNConv(inputs, width)
    reference.load_state_dict(
        {"bias": layer.bias.detach(), "lin.weight": layer.weight.detach().T.contiguous()}
    )
    x, edge_index = features(inputs, sparse), edges(directed)
    signal = torch.randn(NODES, width, generator=generator(0, "signal"))

    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    h = SparseMatrix.from_tensor(x.to_sparse_csr()) if sparse else mine
    out = layer(h, Graph(edge_index, NODES))
    expected = reference(theirs, edge_index)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)

    out.backward(signal)
    expected.backward(signal)
    assert reference.lin.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad, reference.lin.weight.grad.T, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(layer.bias.grad, reference.bias.grad, atol=1e-5, rtol=1e-5)
    if not sparse:
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("hidden", [[4], [6, 20, 3]], ids=str)
def test_a_network_equals_its_formula(hidden: list[int], activation: str, sparse: bool) -> None:
    sizes = ModelShape(12, 5, generator(0, "weights"))
    model = GraphConvolutional(sizes, hidden, activation, dropout=0.5, input_dropout=0.5).eval()
    x, graph = features(12, sparse), Graph(edges(), NODES)
    batch = Batch(
        SparseMatrix.from_tensor(x.to_sparse_csr()) if sparse else x, torch.zeros(NODES), None, graph
    )
    expected = x
    for i, block in enumerate(model.blocks):
        expected = graph.adjacency.dense @ expected @ block.get_parameter(
            "layer.weight"
        ) + block.get_parameter("layer.bias")
        if i < len(hidden):
            expected = getattr(torch, activation)(expected)
    torch.testing.assert_close(model(batch), expected)
    assert model.widths == hidden


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("hidden", [[4], [6, 20, 3]], ids=str)
def test_a_fully_connected_network_equals_its_formula(hidden: list[int], sparse: bool) -> None:
    model = FullyConnected(
        ModelShape(12, 5, generator(0, "weights")), hidden, "tanh", dropout=0.5, input_dropout=0.5
    )
    x = features(12, sparse)
    expected = x
    for i, block in enumerate(model.blocks):
        expected = expected @ block.get_parameter("layer.weight") + block.get_parameter("layer.bias")
        if i < len(hidden):
            expected = torch.tanh(expected)
    batch = Batch(SparseMatrix.from_tensor(x.to_sparse_csr()) if sparse else x, torch.zeros(NODES))
    torch.testing.assert_close(model.eval()(batch), expected)


@pytest.mark.parametrize("model", [FullyConnected, GraphConvolutional])
def test_weights_come_from_their_own_generator(model: type) -> None:
    def weights(seed: int) -> list[Tensor]:
        return list(model(ModelShape(12, 5, generator(seed, "weights")), [7], "relu", 0.0, 0.0).parameters())

    before = torch.get_rng_state()
    first = weights(0)
    torch.rand(3)
    assert all(map(torch.equal, first, weights(0)))
    assert not torch.equal(first[0], weights(1)[0])
    torch.set_rng_state(before)
    weights(0)
    assert torch.equal(before, torch.get_rng_state())


def test_weights_are_drawn_as_glorot_and_bengio_say() -> None:
    weight = (
        FullyConnected(ModelShape(400, 5, generator(0, "weights")), [600], "relu", 0, 0)
        .blocks[0]
        .get_parameter("layer.weight")
    )
    bound = (6 / 1000) ** 0.5
    assert weight.abs().max() <= bound
    # A uniform number has variance bound^2 / 3. Estimated from 240,000 of them, its relative standard error is 0.0018.
    assert weight.var().item() == pytest.approx(bound**2 / 3, rel=0.01)


def test_a_network_of_torch_geometrics_convolutions_equals_them_in_a_row() -> None:
    conv = functools.partial(GATConv, heads=3)
    sizes = ModelShape(12, 5, generator(0, "weights"))
    model = GraphNetwork(sizes, conv, {"heads": 1}, [4, 6], "relu", dropout=0.5, input_dropout=0.5).eval()
    x, edge_index = features(12, False), edges()
    first, second, last = (block.get_submodule("layer.conv") for block in model.blocks)
    expected = last(second(first(x, edge_index).relu(), edge_index).relu(), edge_index)
    logits = model(Batch(x, torch.zeros(NODES), None, Graph(edge_index, NODES)))
    torch.testing.assert_close(logits, expected)
    assert logits.shape == (NODES, 5)
    assert model.widths == [12, 18], "heads stand side by side"


@pytest.mark.parametrize("kind", [GCNConv, SGConv], ids=["GCNConv", "SGConv"])
def test_a_convolution_may_cache_its_graph(kind: type) -> None:
    """It must cache the graph of the data, not the small one on which its width was found."""
    x, batch_graph = features(12, False), Graph(edges(), NODES)
    logits = []
    for cached in (False, True):
        sizes = ModelShape(12, 5, generator(0, "weights"))
        model = GraphNetwork(sizes, functools.partial(kind, cached=cached), {}, [4], "relu", 0.0, 0.0)
        logits.append(model(Batch(x, torch.zeros(NODES), None, batch_graph)))
    torch.testing.assert_close(logits[1], logits[0])


def test_weights_of_other_libraries_follow_the_seed_and_leave_the_global_generator() -> None:
    def weights(seed: int) -> Tensor:
        sizes = ModelShape(12, 5, generator(seed, "weights"))
        return torch.cat(
            [p.flatten() for p in GraphNetwork(sizes, SAGEConv, {}, [4], "relu", 0, 0).parameters()]
        )

    before = torch.get_rng_state()
    first = weights(0)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(3)
    assert torch.equal(first, weights(0))
    assert not torch.equal(first, weights(1))


def test_to_find_the_width_of_a_convolution_draws_no_weights_of_the_next_block() -> None:
    class DrawsWhenCopied(SAGEConv):
        """As the layers of torch_geometric 2.6 do."""

        def __deepcopy__(self, memo: dict) -> SAGEConv:
            return SAGEConv(self.in_channels, self.out_channels)

    sizes = ModelShape(12, 5, generator(0, "weights"))
    with torch.random.fork_rng():
        torch.manual_seed(sizes.weights.initial_seed())
        expected = [p for layer in (SAGEConv(12, 4), SAGEConv(4, 5)) for p in layer.parameters()]
    model = GraphNetwork(sizes, DrawsWhenCopied, {}, [4], "relu", 0, 0)
    for mine, theirs in zip(model.parameters(), expected, strict=True):
        assert torch.equal(mine, theirs)
