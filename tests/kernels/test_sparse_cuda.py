"""On CUDA rows are added up in a fixed order, and the sums are those of the CPU."""

from __future__ import annotations

import pytest
import torch
from on_card import DEVICE, needs_card, needs_triton
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch_geometric.nn import ChebConv, GATConv, GATv2Conv, GCNConv, SAGEConv, TransformerConv

from dfa_cli.kernels import cuda
from dfa_cli.kernels.fixed_order import FixedOrder
from dfa_cli.kernels.sparse import SparseMatrix

SHAPES = {
    "square": (40, 40, 0.1),
    "an empty row": (9, 7, 0.5),
    "rectangular": (3, 50, 0.4),
    "long rows": (2, 600, 0.9),
    "one column": (6, 1, 1.0),
    "no entries": (5, 4, 0.0),
    "no rows": (0, 4, 1.0),
}


def made(rows: int, columns: int, density: float, dtype: torch.dtype) -> Tensor:
    draws = torch.Generator().manual_seed(rows)
    matrix = torch.randn(rows, columns, generator=draws, dtype=dtype)
    matrix *= torch.rand(rows, columns, generator=draws) < density
    matrix[rows // 2 :][:1] = 0
    return matrix


@needs_triton
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [1, 70])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_products_are_those_of_dense_matrices(
    shape: tuple[int, int, float], width: int, dtype: torch.dtype
) -> None:
    from dfa_cli.kernels import sparse_cuda

    dense = made(*shape, dtype)
    sparse = SparseMatrix.from_tensor(dense.to_sparse_coo()).to(DEVICE)
    for matrix, (columns, starts, values) in (
        (dense, sparse._bags),
        (dense.T, sparse._transposed_bags),
    ):
        if len(matrix) > 100 and DEVICE.type == "cpu":
            continue  # The interpreter takes milliseconds for each row.
        h = torch.randn(matrix.shape[1], 2 * width, dtype=dtype)[:, ::2]
        pieces = sparse_cuda.cut_long_rows(starts)
        assert (pieces is not None) == bool((matrix != 0).sum(1).gt(sparse_cuda.PIECE).any())
        found = sparse_cuda.multiply(starts, columns, values, h.to(DEVICE), pieces).cpu()
        assert found.dtype == dtype
        bound = 1e-6 if dtype == torch.float32 else 1e-14
        most = bound * (1 + matrix.double().abs().sum(1).max()) if len(matrix) else 0.0
        assert not len(matrix) or float((found - matrix.double() @ h.double()).abs().max()) < most


@needs_triton
def test_nan_reaches_exactly_the_rows_that_read_it() -> None:
    from dfa_cli.kernels import sparse_cuda

    dense = made(9, 7, 0.5, torch.float32)
    columns, starts, values = SparseMatrix.from_tensor(dense.to_sparse_coo()).to(DEVICE)._bags
    h = torch.ones(7, 16).index_fill_(0, torch.tensor([3]), torch.nan)
    found = sparse_cuda.multiply(starts, columns, values, h.to(DEVICE), None).cpu()
    assert torch.equal(found.isnan(), (dense[:, 3] != 0)[:, None].expand(-1, 16))


CONVOLUTIONS = {
    "gat": GATConv(10, 4, heads=3),
    "sage": SAGEConv(10, 4),
    "cheb": ChebConv(10, 4, K=3),
    "gcn": GCNConv(10, 4),
    "gat, version 2": GATv2Conv(10, 4, heads=2),
    "transformer": TransformerConv(10, 4),
}


class Recorded(TorchDispatchMode):
    """Records the operations that add with atomics on CUDA."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if any(name in str(func) for name in ("index_add", "scatter_add", "index_reduce", "embedding")):
            self.names.add(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("conv", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
@pytest.mark.parametrize("triton", [pytest.param(True, marks=needs_triton), False], ids=["triton", "torch"])
def test_layers_of_torch_geometric_add_in_a_fixed_order(
    conv: torch.nn.Module, triton: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The numbers are those of the layer alone, and no operation is left that would add with atomics."""
    monkeypatch.setattr("dfa_cli.kernels.fixed_order.has_triton", lambda: triton)
    draws = torch.Generator().manual_seed(1)
    edges = torch.randint(0, 12, (2, 60), generator=draws).to(DEVICE)
    x = torch.randn(12, 10, generator=draws).to(DEVICE).requires_grad_()
    conv = conv.to(DEVICE)
    plain = conv(x, edges)
    signal = torch.randn(plain.shape, generator=draws).to(DEVICE)
    expected = torch.autograd.grad(plain, [x, *conv.parameters()], signal)
    order = FixedOrder(edges)
    for _ in range(2):  # the second time, what was sorted may be known
        with Recorded() as recorded:
            with order:
                result = conv(x, edges)
            gradients = torch.autograd.grad(result, [x, *conv.parameters()], signal)
        assert not recorded.names
        torch.testing.assert_close(result, plain, rtol=1e-5, atol=1e-5)
        for found, right in zip(gradients, expected, strict=True):
            torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-5)


def test_what_is_not_one_index_for_each_row_is_left_alone() -> None:
    index = torch.tensor([[0, 1], [1, 0], [0, 0]])
    source = torch.arange(6.0).view(3, 2)
    with FixedOrder(index):
        found = torch.zeros(2, 2).scatter_add_(0, index, source)
    assert torch.equal(found, torch.zeros(2, 2).scatter_add_(0, index, source))


def test_without_cuda_triton_is_not_used() -> None:
    if not torch.cuda.is_available():
        assert not cuda.has_triton()


@needs_card
@needs_triton
def test_products_on_cuda_have_the_same_bits_in_a_graph_and_again() -> None:
    matrix = SparseMatrix.from_tensor(made(400, 3000, 0.3, torch.float32).to_sparse_coo()).to("cuda")
    h, signal = torch.randn(3000, 64, device="cuda"), torch.randn(400, 64, device="cuda")
    first = matrix @ h, matrix.transpose_matmul(signal)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = matrix @ h, matrix.transpose_matmul(signal)
    for _ in range(20):
        graph.replay()
        assert all(map(torch.equal, captured, first))
        assert torch.equal(matrix @ h, first[0])
