"""Backpropagation and the shallow rule give the gradients of torch's autograd."""

from __future__ import annotations

import pytest
import torch
from networks import CLASSES, ROWS, NoDevice, batch, gradients, network, same
from torch.nn import functional

from dfa_cli.kernels.softmax import log_softmax
from dfa_cli.kernels.vjp import accumulate_vjp
from dfa_cli.models import Batch, Model
from dfa_cli.rules import Backpropagation, Shallow, cross_entropy
from dfa_cli.rules.base import LearningRule

KINDS = ["samples", "graph"]


def autograd(model: Model, kind: str) -> tuple[dict[str, torch.Tensor | None], float]:
    data = batch(kind)
    logits = model(Batch(data.x, data.y, None, data.graph))
    loss = functional.cross_entropy(logits if data.rows is None else logits[data.rows], data.targets)
    loss.backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}, loss.item()


@pytest.mark.parametrize(("dropout", "input_dropout"), [(0.0, 0.0), (0.5, 0.3)])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("hidden", [[], [13], [9, 16, 7]], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_backpropagation_is_autograd(
    kind: str, hidden: list[int], activation: str, dropout: float, input_dropout: float
) -> None:
    def model() -> Model:
        return network(kind, hidden, activation, dropout, input_dropout)

    expected, loss = autograd(model(), kind)
    mine = model()
    same(gradients(mine, Backpropagation(), NoDevice(), batch(kind)), expected)
    assert Backpropagation().backward(model(), batch(kind)).loss.item() == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize("hidden", [[13], [9, 16, 7]], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_shallow_gives_the_last_block_its_true_gradient_and_the_others_none(
    kind: str, hidden: list[int]
) -> None:
    def model() -> Model:
        return network(kind, hidden, "tanh", dropout=0.4, input_dropout=0.2)

    true = gradients(model(), Backpropagation(), NoDevice(), batch(kind))
    found = gradients(model(), Shallow(), NoDevice(), batch(kind))
    last = f"blocks.{len(hidden)}."
    assert all(value is None for name, value in found.items() if not name.startswith(last))
    same(
        {name: value for name, value in found.items() if name.startswith(last)},
        {name: value for name, value in true.items() if name.startswith(last)},
    )


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("kind", KINDS)
def test_shallow_leaves_the_hidden_weights_bit_by_bit(
    kind: str, optimizer: type[torch.optim.Optimizer]
) -> None:
    """Weight decay must not shrink them either."""
    model = network(kind, [9, 16], "relu", dropout=0.5)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    stepper = optimizer(model.parameters(), lr=0.1, weight_decay=0.1)  # type: ignore[call-arg]
    for _ in range(3):
        stepper.zero_grad(set_to_none=True)
        Shallow().backward(model, batch(kind))
        stepper.step()
    unchanged = [torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
    assert unchanged == [True] * 4 + [False] * 2


@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
def test_the_error_is_the_gradient_of_the_loss(scale: float) -> None:
    draws = torch.Generator().manual_seed(0)
    logits = (torch.randn(ROWS, CLASSES, generator=draws, dtype=torch.float64) * scale).requires_grad_()
    y = torch.randint(CLASSES, (ROWS,), generator=draws)
    expected = functional.cross_entropy(logits, y)
    expected.backward()
    loss, error = cross_entropy(logits.detach(), y)
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(error, logits.grad)
    assert error.sum(1).abs().max() < 1e-12


@pytest.mark.parametrize("rows", [1, 7, 140, 5000])
def test_the_loss_has_the_bits_of_the_mean(rows: int) -> None:
    draws = torch.Generator().manual_seed(rows)
    logits = torch.randn(rows, CLASSES, generator=draws)
    y = torch.randint(CLASSES, (rows,), generator=draws)
    loss, _ = cross_entropy(logits, y)
    assert torch.equal(loss, -log_softmax(logits).gather(1, y[:, None]).mean())


def test_the_rules_have_the_interface_of_a_learning_rule() -> None:
    for rule in (Backpropagation(), Shallow()):
        assert isinstance(rule, LearningRule)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_signal_is_passed_back_as_by_autograd(dtype: torch.dtype) -> None:
    weights = [torch.full((3, 2), 0.5, requires_grad=True), torch.full((2,), 2.0, requires_grad=True)]
    x = torch.arange(12.0).reshape(4, 3)

    def output() -> torch.Tensor:
        return (torch.tanh(x @ weights[0]) * weights[1]).to(dtype)

    signal = torch.arange(8.0).reshape(4, 2)  # in single precision, whatever the output has
    torch.autograd.backward(output(), signal.to(dtype))
    expected = [weight.grad for weight in weights]
    for weight in weights:
        weight.grad = None
    accumulate_vjp(output(), signal)
    for weight, gradient in zip(weights, expected, strict=True):
        assert weight.grad is not None
        assert gradient is not None
        assert torch.equal(weight.grad, gradient)
    accumulate_vjp(x, x)  # an output without parameters
