"""The graph convolution by hand, the softmax of few columns and the fast masks equal the plain torch lines."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from dfa_cli.kernels import onednn
from dfa_cli.kernels.activations import ACTIVATIONS
from dfa_cli.kernels.dense import product
from dfa_cli.kernels.dropout_mask import dropout_mask
from dfa_cli.kernels.graph_convolution import graph_convolution
from dfa_cli.kernels.softmax import favoured, log_softmax
from dfa_cli.kernels.sparse import SparseMatrix, normalised_adjacency
from dfa_cli.models import Batch, GraphConvolutional
from dfa_cli.models.base import ModelShape
from dfa_cli.models.batch import Graph

EDGES = torch.tensor([[0, 1, 1, 2, 2, 3, 3, 4, 4, 0], [1, 0, 2, 1, 3, 2, 4, 3, 0, 4]])
NODES = 6  # the last one has no neighbour


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("activation", [None, "tanh", "relu"])
@pytest.mark.parametrize(("inputs", "width"), [(9, 4), (4, 9), (30, 20), (20, 30)])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
def test_output_and_gradients_are_those_of_the_plain_line(
    sparse: bool, inputs: int, width: int, activation: str | None
) -> None:
    adjacency = normalised_adjacency(EDGES, NODES)
    h = drawn(0, NODES, inputs) * (drawn(1, NODES, inputs) > 0)
    weight, bias, signal = drawn(2, inputs, width), drawn(3, width), drawn(4, NODES, width)
    ours = [tensor.clone().requires_grad_() for tensor in (h, weight, bias)]
    exact = [tensor.double().requires_grad_() for tensor in (h, weight, bias)]
    given: Any = SparseMatrix.from_tensor(h.to_sparse_coo()) if sparse else ours[0]
    out = graph_convolution(
        adjacency, given, ours[1], ours[2], ACTIVATIONS[activation] if activation else None
    )
    z = adjacency.dense.double() @ exact[0] @ exact[1] + exact[2]
    expected = z if activation is None else getattr(torch, activation)(z)
    torch.testing.assert_close(out, expected.float())
    out.backward(signal)
    expected.backward(signal.double())
    for found, wanted in list(zip(ours, exact, strict=True))[int(sparse) :]:
        assert found.grad is not None
        assert wanted.grad is not None
        torch.testing.assert_close(found.grad, wanted.grad.float())


def network(input_dropout: float) -> tuple[GraphConvolutional, Batch]:
    x = SparseMatrix.from_tensor((drawn(0, NODES, 8) * (drawn(1, NODES, 8) > 0)).to_sparse_coo())
    shape = ModelShape(8, 3, torch.Generator().manual_seed(5), torch.Generator().manual_seed(6))
    model = GraphConvolutional(shape, [4], "tanh", 0.5, input_dropout)
    return model, Batch(x, torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([0, 3]), Graph(EDGES, NODES))


def gradients(model: GraphConvolutional, batch: Batch) -> list[Tensor]:
    model.zero_grad()
    model.train()
    model(batch).square().sum().backward()
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


def evaluate(model: GraphConvolutional, batch: Batch) -> Tensor:
    model.eval()
    with torch.no_grad():
        return model(batch)


@pytest.mark.parametrize("input_dropout", [0.0, 0.4])
@pytest.mark.parametrize("moved", [False, True], ids=["same weights", "moved weights"])
def test_a_step_after_an_evaluation_has_the_bits_of_one_without(input_dropout: float, moved: bool) -> None:
    """`data` changes the weights behind the back of autograd, as some optimizers do."""
    found = []
    for evaluated in (False, True):
        model, batch = network(input_dropout)
        before = evaluate(model, batch) if evaluated else None
        if moved:
            next(model.parameters()).data.mul_(2.0)
        found.append([*gradients(model, batch), evaluate(model, batch)])
        if evaluated and not moved:
            assert torch.equal(found[-1][-1], before)  # type: ignore[arg-type]
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("transposed", [False, True])
def test_a_product_with_few_columns_is_right_on_every_processor(
    monkeypatch: pytest.MonkeyPatch, transposed: bool
) -> None:
    monkeypatch.setattr(onednn, "transpose_is_faster", lambda h: transposed)
    h, weight = drawn(0, 40, 16).requires_grad_(), drawn(1, 16, 7).requires_grad_()
    torch.testing.assert_close(product(h, weight), (h.double() @ weight.double()).float())


@pytest.mark.parametrize("columns", [1, 7, 30])
def test_log_softmax_is_that_of_torch(columns: int) -> None:
    logits = 30 * drawn(0, 50, columns)
    logits[3, 0] = torch.inf
    torch.testing.assert_close(log_softmax(logits), torch.log_softmax(logits, dim=1), equal_nan=True)


@pytest.mark.parametrize("columns", [1, 7, 30])
def test_the_favoured_class_is_the_first_of_the_largest(columns: int) -> None:
    logits = drawn(0, 400, columns).round()
    assert (logits == logits.amax(1, keepdim=True)).sum() > 400 or columns == 1, "no row has equal numbers"
    logits[3, 0] = torch.nan
    assert torch.equal(favoured(logits), logits.argmax(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("p", [0.1, 0.5, 0.8, 0.999999])
def test_a_mask_has_the_bits_of_comparing_whole_numbers(p: float, dtype: torch.dtype) -> None:
    like = torch.empty(33, 7, dtype=dtype)
    mask = dropout_mask(like, p, torch.Generator().manual_seed(3))
    draws = torch.empty((like.numel() + 3) // 4, dtype=torch.int64)
    draws.random_(-(2**63), None, generator=torch.Generator().manual_seed(3))
    kept = draws.view(torch.int16)[: like.numel()] >= min(round(p * 2**16), 2**16 - 1) - 2**15
    assert torch.equal(mask, kept.view(like.shape).to(dtype).mul_(1.0 / (1.0 - p)))
