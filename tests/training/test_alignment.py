"""The alignment is the cosine between a rule's gradients and the true ones, and measuring it changes nothing."""

from __future__ import annotations

import math

import pytest
import torch

from dfa_cli.devices import Digital
from dfa_cli.models import Batch, FullyConnected, Model
from dfa_cli.models.base import ModelShape
from dfa_cli.rules import Backpropagation, DirectFeedbackAlignment, Shallow
from dfa_cli.seeding import generator
from dfa_cli.training.alignment import _cosine, measure

CPU = torch.device("cpu")


def two_blocks(inputs: torch.Tensor | None = None) -> tuple[FullyConnected, Batch]:
    draws = generator(1, "data")
    x = torch.randn(40, 6, generator=draws) if inputs is None else inputs
    model = FullyConnected(ModelShape(6, 3, generator(0, "weights")), [8], "tanh", 0.0, 0.0)
    return model, Batch(x, torch.randint(3, (40,), generator=draws))


def weights(model: Model) -> list[torch.Tensor]:
    return [weight.detach() for weight in model.parameters() if weight.dim() > 1]


def test_backpropagation_is_aligned_with_itself():
    model, batch = two_blocks()
    found = measure(model, Backpropagation(), None, batch, [])
    assert found["alignment_1"] == pytest.approx(1.0)
    assert found["alignment_2"] == pytest.approx(1.0)


def test_feedback_equal_to_the_transposed_weights_is_aligned():
    model, batch = two_blocks()
    device, rule = Digital("cpu"), DirectFeedbackAlignment()
    rule.prepare(model, 3, device, CPU)
    device.feedback = weights(model)[1].t().clone()
    found = measure(model, rule, device, batch, [])
    assert found["alignment_1"] == pytest.approx(1.0)
    assert found["matrix_alignment_1"] == pytest.approx(1.0)


def test_cosine_against_the_formula():
    model, batch = two_blocks()
    device, rule = Digital("cpu", matrix_seed=5), DirectFeedbackAlignment()
    rule.prepare(model, 3, device, CPU)
    found = measure(model, rule, device, batch, [])

    assert isinstance(batch.x, torch.Tensor)
    w1, w2 = weights(model)
    h = torch.tanh(batch.x @ w1)
    error = (torch.softmax(h @ w2, 1) - torch.eye(3)[batch.y]) / 40
    true = batch.x.T @ ((error @ w2.T) * (1 - h**2))
    ours = batch.x.T @ ((error @ device.matrix()) * (1 - h**2))
    cosine = float((true * ours).sum() / (true.norm() * ours.norm()))
    assert found["alignment_1"] == pytest.approx(cosine, abs=1e-5)
    b, w = device.matrix().flatten(), w2.T.flatten()
    assert found["matrix_alignment_1"] == pytest.approx(float(b @ w / (b.norm() * w.norm())), abs=1e-5)


def test_rows_without_gradient_are_left_out_and_counted():
    x = torch.randn(40, 6, generator=generator(1, "data"))
    x[:, [1, 4]] = 0.0  # Two inputs that are always zero, so their weights have no gradient under any rule.
    model, batch = two_blocks(x)
    found = measure(model, Backpropagation(), None, batch, [])
    assert found["alignment_rows_1"] == 4
    assert found["alignment_rows_2"] == 8


def test_a_row_in_which_only_one_gradient_is_zero_counts_as_disagreement():
    rule_gradient, true_gradient = (
        torch.tensor([[3.0, 0.0], [0.0, 0.0]]),
        torch.tensor([[3.0, 0.0], [0.0, 4.0]]),
    )
    cosine, rows = _cosine([rule_gradient], [true_gradient])
    assert cosine == pytest.approx(3 / 5)
    assert rows == 2


def test_a_block_that_is_not_trained_has_no_alignment():
    model, batch = two_blocks()
    found = measure(model, Shallow(), None, batch, [])
    assert found["alignment_1"] is None
    assert found["alignment_rows_1"] == 0
    assert found["alignment_2"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    "words", [["rule=dfa", "device=opu_sim"], ["rule=brsf"], ["rule=drtp"], ["model=gat", "rule=dfa"]]
)
def test_measuring_does_not_disturb_training(dfa, words):
    common = ["model=gcn", "data=digits_graph", "epochs=6", "model.dropout=0.5", *words]
    measured = dfa.run(*common, "alignment_every=2")
    plain = dfa.run(*common)
    kept = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy", "test_accuracy")
    rows = list(zip(measured.metrics, plain.metrics, strict=True))
    assert [[a[name] for name in kept] for a, _ in rows] == [[b[name] for name in kept] for _, b in rows]
    for number, (row, _) in enumerate(rows, start=1):
        assert (row["alignment_2"] == "") == (number % 2 == 1)
    assert math.isclose(float(rows[-1][0]["alignment_2"]), 1.0, abs_tol=1e-6)


def test_measuring_counts_as_no_projection(dfa):
    """The matrix, the costs and the seconds of the simulated device stay as they are."""
    words = ["model=gcn", "data=digits_graph", "epochs=6", "rule=dfa", "device=opu_sim", "alignment_every=1"]
    run = dfa.run(*words)
    cost = run.record["projection"]
    assert cost["rows"] == 6 * run.record["result"]["sizes"]["train"]
    assert 0 < cost["measured_seconds"] < run.record["time"]["train_seconds"]
    assert run.log.count("device.medium=auto") == 1
