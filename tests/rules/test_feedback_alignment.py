"""Feedback alignment, its sign-symmetric variants, and random target projection."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dfa_cli.models import Batch, FullyConnected, GraphConvolutional, Model
from dfa_cli.models.base import ModelShape
from dfa_cli.models.batch import Graph
from dfa_cli.rules import (
    Backpropagation,
    BatchwiseRandomSign,
    DirectRandomTargetProjection,
    FeedbackAlignment,
    FixedRandomSign,
    UniformSign,
)
from dfa_cli.rules.feedback_alignment import SequentialFeedback
from dfa_cli.seeding import generator

CPU = torch.device("cpu")
EDGES = torch.tensor([[0, 1, 1, 2, 2, 3, 3, 4, 4, 5], [1, 0, 2, 1, 3, 2, 4, 3, 5, 4]])


def fully_connected(activation: str = "tanh", dropout: float = 0.0) -> tuple[Model, Batch]:
    draws = generator(1, "data")
    sizes = ModelShape(5, 3, generator(0, "weights"), generator(0, "dropout"))
    model = FullyConnected(sizes, [7, 6, 4], activation, dropout, 0.0)
    return model, Batch(torch.randn(9, 5, generator=draws), torch.randint(3, (9,), generator=draws))


def graph(activation: str = "tanh", dropout: float = 0.0) -> tuple[Model, Batch]:
    draws = generator(1, "data")
    sizes = ModelShape(5, 3, generator(0, "weights"), generator(0, "dropout"))
    model = GraphConvolutional(sizes, [7, 4], activation, dropout, 0.0)
    x, y = torch.randn(6, 5, generator=draws), torch.randint(3, (6,), generator=draws)
    return model, Batch(x, y, torch.tensor([0, 2, 5]), Graph(EDGES, 6))


def gradients(model: Model) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def layers(model: Model) -> list[Any]:
    return [block.layer for block in model.blocks]


class TrueWeights(SequentialFeedback):
    """Sends the error back through the forward weights themselves, which is backpropagation."""

    def feedback(self, weight: Tensor, magnitude: Tensor) -> Tensor:
        return weight


@pytest.mark.parametrize("make", [fully_connected, graph])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_with_the_forward_weights_it_is_backpropagation(make, activation, dropout):
    found = []
    for rule in (Backpropagation(), TrueWeights()):
        model, batch = make(activation, dropout)
        model.train()
        rule.prepare(model, 3, None, CPU)  # type: ignore[arg-type]
        rule.backward(model, batch)
        found.append(gradients(model))
    assert len(found[0]) == len(found[1]) == len(list(model.parameters()))
    for true, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, true, rtol=1e-5, atol=1e-7)


def test_fixed_feedback_by_hand():
    """Compute the equations of the docstring with matrices, for three hidden blocks."""
    model, batch = fully_connected("tanh")
    rule = FeedbackAlignment(feedback_seed=3)
    rule.prepare(model, 3, None, CPU)  # type: ignore[arg-type]
    rule.backward(model, batch)

    assert isinstance(batch.x, Tensor)
    h: list[Tensor] = [batch.x]
    for i, layer in enumerate(layers(model)):
        z = h[-1] @ layer.weight + layer.bias
        h.append(z if i == 3 else torch.tanh(z))
    signal = (torch.softmax(h[-1], 1) - torch.eye(3)[batch.y]) / 9
    for i in reversed(range(4)):
        if i < 3:
            signal = signal * (1 - h[i + 1] ** 2)
        torch.testing.assert_close(layers(model)[i].weight.grad, (h[i].T @ signal).detach())
        torch.testing.assert_close(layers(model)[i].bias.grad, signal.sum(0).detach())
        signal = signal @ rule.magnitudes[i]["weight"].T


@pytest.mark.parametrize("kind", [UniformSign, BatchwiseRandomSign, FixedRandomSign])
def test_sign_symmetric_feedback_has_the_signs_of_the_weights(kind):
    model, _ = fully_connected()
    rule = kind(feedback_seed=3)
    rule.prepare(model, 3, None, CPU)  # type: ignore[arg-type]
    weight = model.blocks[1].matrices()["weight"].detach()
    first = rule.feedback(weight, rule.magnitudes[1]["weight"])
    second = rule.feedback(weight, rule.magnitudes[1]["weight"])
    assert torch.equal(first.sign(), weight.sign())
    assert torch.equal(first, second) == (kind is not BatchwiseRandomSign)
    assert (first.abs().unique().numel() == 1) == (kind is UniformSign)
    flipped = rule.feedback(-weight, rule.magnitudes[1]["weight"])
    assert torch.equal(flipped.sign(), -weight.sign())


def test_the_state_of_redrawn_magnitudes_can_be_restored():
    model, batch = fully_connected()
    rule = BatchwiseRandomSign(feedback_seed=3)
    rule.prepare(model, 3, None, CPU)  # type: ignore[arg-type]
    state = {name: value.clone() for name, value in rule.state_dict().items()}
    found = []
    for _ in range(2):
        rule.load_state_dict(state)
        model.zero_grad()
        rule.backward(model, batch)
        found.append(gradients(model))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


class RecordingDevice:
    """A projection device that records what it is asked to project."""

    def prepare(self, n_in: int, n_out: int, compute: torch.device) -> None:
        self.out = n_out

    def project(self, error: Tensor) -> Tensor:
        self.seen = error.clone()
        return error.new_zeros(len(error), self.out)


def test_target_projection_projects_labels_and_no_error():
    model, batch = graph()
    device, rule = RecordingDevice(), DirectRandomTargetProjection()
    rule.prepare(model, 3, device, CPU)  # type: ignore[arg-type]
    rule.backward(model, batch)
    assert batch.rows is not None
    torch.testing.assert_close(device.seen, -torch.eye(3)[batch.y[batch.rows]] / 3)
