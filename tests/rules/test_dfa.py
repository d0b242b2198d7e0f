"""Direct feedback alignment equals backpropagation where it must, and its written-out formula elsewhere."""

from __future__ import annotations

import functools
import operator

import numpy as np
import pytest
import torch
from networks import (
    CLASSES,
    FEATURES,
    LABELLED,
    ROWS,
    Given,
    batch,
    drawn,
    gradients,
    network,
    same,
)
from torch import Tensor
from torch_geometric.nn import GATConv

from dfa_cli.models import Batch, GraphNetwork, Model
from dfa_cli.models.base import ModelShape
from dfa_cli.rules import Backpropagation, DirectFeedbackAlignment, LearningRule, cross_entropy
from dfa_cli.seeding import generator

KINDS = ["samples", "graph"]


def transposed_weights(model: Model) -> list[Tensor]:
    """Return `(W_{i+1} ... W_last)^T` `[classes, width_i]` of each hidden block, exact feedback if all are linear."""
    weights = [block.get_parameter("layer.weight").detach() for block in model.blocks]
    return [functools.reduce(operator.matmul, weights[i + 1 :]).T for i in range(len(weights) - 1)]


def true_feedback(model: Model, scale: float = 1.0) -> Given:
    """Return a device with these matrices, divided by the factor `scale / sqrt(width)` of the rule."""
    matrices = [b * b.shape[1] ** 0.5 / scale for b in transposed_weights(model)]
    return Given(lambda n_in, n_out: torch.cat(matrices, 1))


@pytest.mark.parametrize("scale", [1.0, 0.25])
@pytest.mark.parametrize("input_dropout", [0.0, 0.4])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("kind", KINDS)
def test_with_the_true_transposed_weights_it_is_backpropagation(
    kind: str, activation: str, input_dropout: float, scale: float
) -> None:
    """With two blocks the feedback is exact; the dropout masks are equal, since the generators are."""

    def model() -> Model:
        return network(kind, [13], activation, input_dropout=input_dropout)

    rule = DirectFeedbackAlignment(scale=scale, spread_over_edges=True)
    dfa = gradients(model(), rule, true_feedback(model(), scale), batch(kind))
    same(dfa, gradients(model(), Backpropagation(), None, batch(kind)))


@pytest.mark.parametrize("hidden", [[13], [9, 16], [8, 3, 12]], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_with_linear_blocks_of_any_depth_it_is_backpropagation_too(kind: str, hidden: list[int]) -> None:
    model = functools.partial(network, kind, hidden, None)
    rule = DirectFeedbackAlignment(spread_over_edges=True)
    same(
        gradients(model(), rule, true_feedback(model()), batch(kind)),
        gradients(model(), Backpropagation(), None, batch(kind)),
    )


@pytest.mark.parametrize("p", [0.3, 0.6])
def test_only_the_second_blocks_dropout_separates_them(p: float) -> None:
    """The true gradient passes the dropout mask of the block above. With that mask in the feedback, both are equal."""

    class Masked(Given):
        def project(self, error: Tensor) -> Tensor:
            return super().project(error) * mask

    reference = network("samples", [13], "tanh", dropout=p)
    expected = gradients(reference, Backpropagation(), None, batch("samples"))
    replay = network("samples", [13], "tanh", dropout=p)
    mask = replay.blocks[1].dropout(torch.ones(ROWS, 13, dtype=torch.float64))
    assert isinstance(mask, Tensor)
    device = true_feedback(replay)
    model = network("samples", [13], "tanh", dropout=p)
    same(gradients(model, DirectFeedbackAlignment(), Masked(device.make), batch("samples")), expected)


def by_formula(
    model: Model, data: Batch, b: np.ndarray, activation: str, scale: float, share: bool, spread: bool
) -> dict[str, np.ndarray]:
    """Nøkland's equations in numpy: forward, error, `delta_i = (e B_i) * act'(a_i)`, outer products."""
    rows = np.arange(len(data.y)) if data.rows is None else data.rows.numpy()
    a = np.eye(len(data.y)) if data.graph is None else data.graph.adjacency.dense.numpy()
    act, slope = {
        "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
        "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(float)),
    }[activation]
    weights = [block.get_parameter("layer.weight").detach().numpy() for block in model.blocks]
    biases = [block.get_parameter("layer.bias").detach().numpy() for block in model.blocks]
    assert isinstance(data.x, Tensor)
    hs, zs = [data.x.numpy()], []
    for i, (w, bias) in enumerate(zip(weights, biases, strict=True)):
        zs.append(a @ hs[-1] @ w + bias)
        hs.append(zs[-1] if i == len(weights) - 1 else act(zs[-1]))
    p = np.exp(zs[-1]) / np.exp(zs[-1]).sum(1, keepdims=True)
    e = np.zeros_like(p)
    e[rows] = p[rows]
    e[rows, data.y.numpy()[rows]] -= 1
    e /= len(rows)

    result, first = {}, 0
    for i, w in enumerate(weights):
        delta = e
        if i < len(weights) - 1:
            width = w.shape[1]
            columns = b[:, :width] if share else b[:, first : first + width]
            first += width
            feedback = e @ columns * scale / np.sqrt(width)
            for _ in range(len(weights) - 1 - i if spread else 0):
                feedback = a.T @ feedback
            delta = feedback * slope(zs[i])
        result[f"blocks.{i}.layer.weight"] = hs[i].T @ a.T @ delta
        result[f"blocks.{i}.layer.bias"] = delta.sum(0)
    return result


@pytest.mark.parametrize("share", [False, True], ids=["a matrix a block", "one shared slice"])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize(
    ("kind", "spread"),
    [("samples", False), ("samples", True), ("graph", False), ("graph", True)],
    ids=["samples", "samples, spread", "graph", "graph, spread"],
)
@pytest.mark.parametrize("hidden", [[9, 16, 7], [12]], ids=str)
def test_gradients_equal_the_formula_written_out(
    hidden: list[int], kind: str, spread: bool, activation: str, share: bool
) -> None:
    model, data, device = network(kind, hidden, activation), batch(kind), Given(drawn)
    rule = DirectFeedbackAlignment(scale=0.7, share_columns=share, spread_over_edges=spread)
    found = gradients(model, rule, device, data)
    assert device.b.shape == (CLASSES, max(hidden) if share else sum(hidden))
    expected = by_formula(model, data, device.b.numpy(), activation, 0.7, share, spread)
    same(found, {name: torch.from_numpy(value) for name, value in expected.items()})


def test_the_feedback_is_scaled_by_the_width() -> None:
    """Entries of `B_i` have variance `scale^2 / width_i`: `|e B_i|` is about `scale |e|` at any width."""
    ones = Given(lambda n_in, n_out: torch.ones(n_in, n_out, dtype=torch.float64))
    for hidden in ([4, 64], [100]):
        model = network("samples", hidden, None)
        found = gradients(model, DirectFeedbackAlignment(scale=3.0), ones, batch("samples"))
        for i in range(len(hidden)):
            # Each row of e sums to zero, so a matrix of ones gives no feedback. Below, one column is picked.
            bias = found[f"blocks.{i}.layer.bias"]
            assert bias is not None
            assert bias.abs().max() < 1e-12
        picked = Given(lambda n_in, n_out: torch.eye(n_in, 1, dtype=torch.float64).expand(n_in, n_out))
        found = gradients(
            network("samples", hidden, None), DirectFeedbackAlignment(3.0), picked, batch("samples")
        )
        column = found[f"blocks.{len(hidden)}.layer.bias"]
        assert column is not None
        for i, width in enumerate(hidden):
            bias = found[f"blocks.{i}.layer.bias"]
            assert bias is not None
            torch.testing.assert_close(bias, column[0].expand(width) * 3.0 / width**0.5)


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("spread", [False, True])
def test_rows_without_a_label_are_never_handed_to_the_device(spread: bool, share: bool) -> None:
    device, data = Given(drawn), batch("graph")
    model = network("graph", [9, 16, 7], "relu")
    gradients(model, DirectFeedbackAlignment(share_columns=share, spread_over_edges=spread), device, data)
    (asked,) = device.asked  # one projection feeds all blocks
    assert asked.shape == (len(LABELLED), CLASSES)
    assert device.cost().rows == len(LABELLED)
    assert (asked.abs().sum(1) > 0).all()


def test_without_hidden_blocks_there_is_nothing_to_project() -> None:
    class Untouched(Given):
        def prepare(self, *_: object) -> None:
            raise AssertionError

    model = network("samples", [], "tanh")
    found = gradients(model, DirectFeedbackAlignment(), Untouched(drawn), batch("samples"))
    same(found, gradients(network("samples", [], "tanh"), Backpropagation(), None, batch("samples")))


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_blocks_do_not_wait_for_each_other(kind: str) -> None:
    """A block's gradient does not change with the weights between it and the error of the logits."""
    device, data = Given(drawn), batch(kind)
    model = network(kind, [9, 16, 7], None)
    before = gradients(model, DirectFeedbackAlignment(), device, data)["blocks.0.layer.weight"]
    assert before is not None
    other = network(kind, [9, 16, 7], None)
    with torch.no_grad():
        # The blocks are linear and the product of the weights stays, so the logits and the error are the same.
        other.blocks[1].get_parameter("layer.weight").mul_(2)
        other.blocks[1].get_parameter("layer.bias").mul_(2)
        other.blocks[2].get_parameter("layer.weight").div_(2)
    after = gradients(other, DirectFeedbackAlignment(), Given(drawn), data)["blocks.0.layer.weight"]
    assert after is not None
    torch.testing.assert_close(after, before)


@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_hits_are_those_of_backpropagation(kind: str) -> None:
    def step(rule: LearningRule) -> tuple[float, int]:
        model = network(kind, [9, 16], "tanh", dropout=0.3, input_dropout=0.2)
        rule.prepare(model, CLASSES, Given(drawn), torch.device("cpu"))
        loss, correct = rule.backward(model, batch(kind))
        return loss.item(), int(correct)

    assert step(DirectFeedbackAlignment()) == step(Backpropagation())


@pytest.mark.parametrize("spread", [False, True])
def test_any_torch_geometric_convolution_takes_its_own_vector_jacobian_product(spread: bool) -> None:
    """The same gradients by autograd, a block at a time, with attention heads that widen the block."""
    sizes = ModelShape(FEATURES, CLASSES, generator(0, "weights"))
    conv = functools.partial(GATConv, heads=3)
    model = GraphNetwork(sizes, conv, {"heads": 1}, [4, 6], "tanh", dropout=0.0, input_dropout=0.0).double()
    data, device = batch("graph"), Given(drawn)
    found = gradients(model, DirectFeedbackAlignment(spread_over_edges=spread), device, data)
    assert device.b.shape == (CLASSES, 12 + 18)

    assert data.graph is not None
    assert isinstance(data.x, Tensor)
    hs = [data.x]
    for block in model.blocks:
        h = block(hs[-1].detach(), data.graph)
        assert isinstance(h, Tensor)
        hs.append(h)
    _, error = cross_entropy(hs[-1].detach()[LABELLED], data.targets)
    signals = []
    for i, columns in enumerate((slice(0, 12), slice(12, 30))):
        width = columns.stop - columns.start
        signal = torch.zeros(ROWS, width, dtype=torch.float64)
        signal[LABELLED] = error @ device.b[:, columns] / width**0.5
        for _ in range(2 - i if spread else 0):
            signal = data.graph.adjacency.dense.T @ signal
        signals.append(signal)
    signals.append(torch.zeros(ROWS, CLASSES, dtype=torch.float64).index_copy_(0, LABELLED, error))
    for i, (block, signal) in enumerate(zip(model.blocks, signals, strict=True)):
        names, parameters = zip(*block.named_parameters(), strict=True)
        expected = torch.autograd.grad((hs[i + 1] * signal).sum(), parameters)
        for name, gradient in zip(names, expected, strict=True):
            torch.testing.assert_close(found[f"blocks.{i}.{name}"], gradient, rtol=1e-9, atol=1e-12)


def test_a_subclass_may_override_the_projected_signal_by_its_earlier_name() -> None:
    class Older(DirectFeedbackAlignment):
        def teaching(self, error: Tensor, batch: Batch) -> Tensor:
            return 2 * error

    class Newer(DirectFeedbackAlignment):
        def projected_signal(self, error: Tensor, batch: Batch) -> Tensor:
            return 2 * error

    error = torch.randn(3, 2)
    data = Batch(error, torch.zeros(3))
    assert torch.equal(Older().projected_signal(error, data), Newer().projected_signal(error, data))
