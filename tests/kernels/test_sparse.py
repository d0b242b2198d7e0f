"""Sparse products equal dense ones, and the normalised adjacency equals that of torch_geometric."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import to_dense_adj

from dfa_cli.kernels import sparse as sparse_module
from dfa_cli.kernels.sparse import SparseMatrix, normalised_adjacency


def random_sparse(rows: int, columns: int, seed: int = 0, density: float = 0.2) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    values = torch.randn(rows, columns, generator=draws, dtype=torch.float64)
    return values * (torch.rand(rows, columns, generator=draws) < density)


def test_torch_does_not_warn_of_its_layout() -> None:
    """It runs in a process of its own, because torch warns only at the first CSR tensor of a process."""
    subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", FIRST_USE], check=True)


FIRST_USE = """
import torch
from dfa_cli.kernels.sparse import normalised_adjacency
matrix = normalised_adjacency(torch.tensor([[0, 1], [1, 0]]), 2)
matrix.with_values(matrix.csr.values()) @ matrix.dense
"""


@pytest.fixture(params=["coo", "csr"])
def pair(request: pytest.FixtureRequest) -> tuple[Tensor, SparseMatrix]:
    """Return a dense matrix with an empty row and an empty column, and the same matrix as a SparseMatrix."""
    dense = random_sparse(9, 7)
    dense[4] = 0
    dense[:, 2] = 0
    sparse = dense.to_sparse_coo() if request.param == "coo" else dense.to_sparse_csr()
    return dense, SparseMatrix.from_tensor(sparse)


def test_a_matrix_is_kept_with_its_transpose(pair: tuple[Tensor, SparseMatrix]) -> None:
    dense, sparse = pair
    assert sparse.shape == dense.shape
    assert torch.equal(sparse.dense, dense)
    assert torch.equal(sparse.transposed.to_dense(), dense.T)
    assert torch.equal(sparse.transposed.values(), sparse.csr.values()[sparse.order])


def test_products_and_their_gradients_equal_dense_ones(pair: tuple[Tensor, SparseMatrix]) -> None:
    dense, sparse = pair
    h = random_sparse(dense.shape[1], 5, seed=1, density=1).requires_grad_()
    again = h.detach().clone().requires_grad_()
    signal = random_sparse(dense.shape[0], 5, seed=2, density=1)
    result = sparse @ h
    torch.testing.assert_close(result, dense @ again)
    result.backward(signal)
    (dense @ again).backward(signal)
    torch.testing.assert_close(h.grad, again.grad)


@pytest.fixture(params=["AMD", "Intel", "other"])
def maker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets the maker of the processor, on which the library depends."""
    monkeypatch.setattr(sparse_module, "is_intel", lambda: request.param == "Intel")
    if request.param == "other":
        monkeypatch.setattr(sparse_module, "_has_fast_embedding_bag", lambda: False)


@pytest.mark.usefixtures("maker")
@pytest.mark.parametrize("width", [1, 7, 8, 16, 64, 257])
def test_float32_is_exact_to_its_rounding_by_either_library(
    pair: tuple[Tensor, SparseMatrix], width: int
) -> None:
    """Strided columns of a wider matrix are multiplied too."""
    dense, double = pair
    single = SparseMatrix.from_tensor(double.csr.float())
    wide = random_sparse(dense.shape[1], 2 * width, seed=1, density=1).float()
    signal = random_sparse(dense.shape[0], width, seed=2, density=1).float()
    for h in (wide[:, :width], wide[:, ::2]):
        leaf = h.detach().requires_grad_()
        result = single @ leaf
        assert result.dtype == torch.float32
        torch.testing.assert_close(result.double(), single.dense.double() @ h.double(), rtol=1e-6, atol=1e-6)
        result.backward(signal)
        assert leaf.grad is not None
        back = single.dense.double().T @ signal.double()
        torch.testing.assert_close(leaf.grad, back.float(), rtol=1e-6, atol=1e-6)
        assert torch.equal(single.transpose_matmul(signal), leaf.grad)


@pytest.mark.usefixtures("maker")
def test_nan_reaches_exactly_the_rows_that_read_it(pair: tuple[Tensor, SparseMatrix]) -> None:
    """The memory of a result may hold NaN before it is written."""
    dense, double = pair
    h = torch.ones(dense.shape[1], 16)
    h[3] = torch.nan
    result = SparseMatrix.from_tensor(double.csr.float()) @ h
    assert torch.equal(result.isnan(), (dense[:, 3] != 0)[:, None].expand(-1, 16))


def test_new_values_keep_the_sparsity_pattern(pair: tuple[Tensor, SparseMatrix]) -> None:
    dense, sparse = pair
    doubled = sparse.with_values(2 * sparse.csr.values())
    assert torch.equal(doubled.dense, 2 * dense)
    assert torch.equal(doubled.transposed.to_dense(), 2 * dense.T)
    assert torch.equal(sparse.dense, dense), "the original has changed"
    numbered = sparse.with_values(torch.arange(1.0, 1 + len(sparse.csr.values()), dtype=torch.float64))
    assert torch.equal(numbered.transposed.to_dense(), numbered.dense.T)


def test_duplicate_entries_are_added() -> None:
    twice = torch.sparse_coo_tensor(
        torch.tensor([[1, 1, 0], [2, 2, 0]]), torch.tensor([1.0, 2.0, 5.0]), (3, 4)
    )
    matrix = SparseMatrix.from_tensor(twice)
    expected = torch.zeros(3, 4)
    expected[1, 2], expected[0, 0] = 3, 5
    assert torch.equal(matrix.dense, expected)
    assert torch.equal(matrix.transposed.to_dense(), expected.T)


def test_an_empty_matrix_gives_zeros() -> None:
    matrix = SparseMatrix.from_tensor(torch.zeros(3, 4).to_sparse_coo())
    assert torch.equal(matrix @ torch.ones(4, 2), torch.zeros(3, 2))
    assert torch.equal(matrix.transpose_matmul(torch.ones(3, 2)), torch.zeros(4, 2))


GRAPHS = {
    "undirected": [[0, 1, 1, 2, 2, 0, 3, 0], [1, 0, 2, 1, 0, 2, 0, 3]],
    "directed": [[0, 1, 2, 3, 4, 4], [1, 2, 3, 1, 0, 2]],
    "self loops given": [[0, 1, 1, 2, 2], [1, 0, 1, 2, 3]],
    "edges twice": [[0, 0, 1, 1, 3], [1, 1, 0, 0, 2]],
    "a self loop twice": [[0, 1, 2, 2], [1, 0, 2, 2]],
    "no edges": [[], []],
}


@pytest.mark.parametrize("edges", GRAPHS.values(), ids=GRAPHS.keys())
def test_the_normalised_adjacency_equals_torch_geometrics(edges: list[list[int]]) -> None:
    edge_index = torch.tensor(edges, dtype=torch.int64)
    nodes = 6  # node 5 has no edges in any of the graphs
    adjacency = normalised_adjacency(edge_index, nodes).dense
    index, weight = gcn_norm(edge_index, num_nodes=nodes, dtype=torch.float32)
    # to_dense_adj has a row for each source; our matrix has a row for each target, which gathers from its sources.
    assert isinstance(index, Tensor)
    torch.testing.assert_close(adjacency, to_dense_adj(index, edge_attr=weight, max_num_nodes=nodes)[0].T)
    assert adjacency[5, 5] == 1
    assert adjacency[5].sum() == adjacency[:, 5].sum() == 1


def test_the_normalised_adjacency_equals_its_formula() -> None:
    edge_index = torch.tensor(GRAPHS["undirected"])
    a = torch.eye(6)
    a[edge_index[0], edge_index[1]] = 1
    d = torch.diag(a.sum(0) ** -0.5)
    torch.testing.assert_close(normalised_adjacency(edge_index, 6).dense, d @ a @ d)


def test_some_rows_are_those_of_the_whole_matrix(pair: tuple[Tensor, SparseMatrix]) -> None:
    dense, sparse = pair
    rows = torch.tensor([1, 4, 8])
    some = sparse.only(rows)
    assert torch.equal(some.dense, dense[rows])
    assert torch.equal(some.transposed.to_dense(), dense[rows].T)
    assert torch.equal(sparse.columns_of(rows), dense[rows].any(0).nonzero().flatten())


def test_a_matrix_for_signals_leaves_out_what_meets_zeros(pair: tuple[Tensor, SparseMatrix]) -> None:
    """New values, as dropout draws them, are left out at the same places."""
    dense, sparse = pair
    rows = torch.tensor([1, 4, 8])
    signal = torch.zeros(len(dense), 3, dtype=dense.dtype).index_fill_(0, rows, 1.5)
    h = torch.ones(dense.shape[1], 2, dtype=dense.dtype)
    for scale, near in (
        (1, sparse.for_signals(rows)),
        (2, sparse.for_signals(rows).with_values(2 * sparse.csr.values())),
    ):
        assert len(near.transposed.values()) == dense[rows].count_nonzero()
        torch.testing.assert_close(near.transpose_matmul(signal), scale * dense.T @ signal)
        torch.testing.assert_close(near.matmul(h), scale * dense @ h)
