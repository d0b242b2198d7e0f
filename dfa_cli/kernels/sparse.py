"""Products with constant sparse matrices: node features and normalised adjacencies.

The plain torch line is `torch.sparse.mm(S, H)`.
"""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from dfa_cli.kernels.cuda import has_triton
from dfa_cli.machine.cpu import is_intel

# The columns of the entries of a sparse matrix, the first entry of each row, and the values.
Bags = tuple[Tensor, Tensor, Tensor]

MKL_COLUMNS = 16  # up to this width MKL is faster on an Intel Xeon
SUM = 0  # torch.embedding_bag's number for the mode "sum"


@dataclass(frozen=True, eq=False)
class SparseMatrix:
    """A constant sparse matrix `S` `[rows, columns]`, stored in CSR format together with its transpose.

    The stored transpose saves every step from transposing. `order` maps the values of `S` to those of its transpose:
    `transposed.values() == csr.values()[order]`. The transpose may lack rows of `S` (`for_signals`). Indices have 32
    bits where they fit, because the sparse product on a CPU would convert 64-bit indices every time. `pieces` holds how
    long rows are cut on CUDA. All matrices of one sparsity pattern share it.
    """

    csr: Tensor
    transposed: Tensor
    order: Tensor
    pieces: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_tensor(cls, matrix: Tensor) -> SparseMatrix:
        """Build from a `torch.sparse_csr` or `torch.sparse_coo` tensor."""
        coo = matrix.detach().to_sparse_coo().coalesce()
        rows, columns = coo.indices()
        order = torch.argsort(columns, stable=True)
        transposed = _csr_from_sorted(columns[order], rows[order], coo.values()[order], coo.shape[::-1])
        return cls(_csr_from_sorted(rows, columns, coo.values(), coo.shape), transposed, order)

    def only(self, rows: Tensor) -> SparseMatrix:
        """Return `S[rows]`, the matrix of these rows `[n]`."""
        return SparseMatrix.from_tensor(self.csr.to_sparse_coo().index_select(0, rows))

    def for_signals(self, rows: Tensor) -> SparseMatrix:
        """Return the same matrix for signals that are zero in all but these rows: `S^T G` leaves the others out."""
        inside = self._lies_in(rows)
        columns, order, old = self._transposed_rows()[inside], self.order[inside], self.transposed
        transposed = _csr_from_sorted(columns, old.col_indices()[inside], old.values()[inside], old.shape)
        return replace(self, transposed=transposed, order=order, pieces={})

    def columns_of(self, rows: Tensor) -> Tensor:
        """Return the numbers of the columns that have an entry in one of these rows."""
        return self._transposed_rows()[self._lies_in(rows)].unique()

    def _lies_in(self, rows: Tensor) -> Tensor:
        """Tell of each entry of the transpose whether it is in one of these rows of the matrix."""
        chosen = torch.zeros(self.shape[0], dtype=torch.bool, device=rows.device).index_fill_(0, rows, True)
        return chosen.index_select(0, self.transposed.col_indices())

    def _transposed_rows(self) -> Tensor:
        """Return the row of each entry of the transpose, which is its column in the matrix."""
        return torch.arange(self.shape[1], device=self.order.device).repeat_interleave(
            self.transposed.crow_indices().diff()
        )

    @property
    def shape(self) -> torch.Size:
        return self.csr.shape

    def with_values(self, values: Tensor) -> SparseMatrix:
        """Return a matrix with the same sparsity pattern and other values `[stored]`."""
        transposed = _with_pattern_of(self.transposed, values.index_select(0, self.order))
        return SparseMatrix(_with_pattern_of(self.csr, values), transposed, self.order, self.pieces)

    @cached_property
    def stored(self) -> int:
        """The number of stored entries."""
        return self.csr.values().numel()

    @cached_property
    def dense(self) -> Tensor:
        return self.csr.to_dense()

    def to(self, device: torch.device | str) -> SparseMatrix:
        return SparseMatrix(self.csr.to(device), self.transposed.to(device), self.order.to(device))

    def __matmul__(self, dense: Tensor) -> Tensor:
        """Compute `S H` `[rows, width]` for a dense `H` `[columns, width]`. The gradient for `H` is `S^T G`."""
        return _Product.apply(self, dense)  # type: ignore[no-any-return]

    def matmul(self, dense: Tensor) -> Tensor:
        """Compute `S H` `[rows, width]` for a dense `H` `[columns, width]`, without autograd."""
        return self._product("rows", self.csr, self._bags, dense)

    def transpose_matmul(self, signal: Tensor) -> Tensor:
        """Compute `S^T G` `[columns, width]` for a signal `G` `[rows, width]`, without autograd."""
        return self._product("columns", self.transposed, self._transposed_bags, signal)

    def _product(self, of: str, csr: Tensor, bags: Bags, dense: Tensor) -> Tensor:
        if not (dense.is_cuda and has_triton()):
            return _matmul(csr, bags, dense, is_transposed=of == "columns")
        from dfa_cli.kernels import sparse_cuda

        columns, starts, values = bags
        if of not in self.pieces:
            self.pieces[of] = sparse_cuda.cut_long_rows(starts)
        return sparse_cuda.multiply(starts, columns, values, dense.detach(), self.pieces[of])

    @cached_property
    def _bags(self) -> Bags:
        return _bags_of(self.csr)

    @cached_property
    def _transposed_bags(self) -> Bags:
        return _bags_of(self.transposed)


class _Product(torch.autograd.Function):
    """Computes `S H` with a gradient for `H` only. torch's own product would also prepare one for the constant `S`."""

    @staticmethod
    def forward(ctx: Any, matrix: SparseMatrix, dense: Tensor) -> Tensor:  # type: ignore[override]
        ctx.matrix = matrix
        return matrix.matmul(dense)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor):  # type: ignore[override]
        return None, ctx.matrix.transpose_matmul(gradient)


def _bags_of(csr: Tensor) -> Bags:
    return csr.col_indices(), csr.crow_indices(), csr.values()


def _matmul(csr: Tensor, bags: Bags, dense: Tensor, is_transposed: bool) -> Tensor:
    """Compute `S H` without autograd.

    On a processor it is torch's sparse product, which MKL computes, or in float32 on an x86 processor
    `torch.embedding_bag`: row `i` of the result is the weighted sum of the rows of `H` at the columns of row `i` in
    `S`. `embedding_bag` fetches those rows of `H` ahead of time. On an AMD EPYC it is as fast as MKL when `H` is 16
    wide, three times as fast when `H` is 64 wide, and faster still beyond. On an Intel Xeon it takes twice as long as
    MKL when `H` is 16 wide, and half as long when `H` is 64 wide.

    Entries that meet zeros only (`for_signals`) do not change the bits of `embedding_bag`, but those of MKL. A
    transpose may lack such entries, and a run in one process and one in stages leave out different ones. So transposes
    stay with `embedding_bag`.
    """
    if not dense.is_cpu:
        return csr @ dense
    dense = (
        dense.detach()
    )  # For a tensor that needs a gradient torch would prepare one, which nobody asks for.
    narrow = dense.shape[1] <= MKL_COLUMNS and is_intel() and not is_transposed
    if dense.dtype != torch.float32 or narrow or not _has_fast_embedding_bag():
        out = dense.new_empty(csr.shape[0], dense.shape[1])
        return torch.addmm(
            out, csr, dense, beta=0, out=out
        )  # `csr @ dense` would fill the result with zeros first.
    columns, starts, values = bags
    return torch.embedding_bag(
        dense.contiguous(),
        columns,
        starts,
        mode=SUM,
        per_sample_weights=values,
        include_last_offset=True,
    )[0]


@functools.cache
def _has_fast_embedding_bag() -> bool:
    """Tell whether torch has FBGEMM and the processor its instructions. Otherwise `embedding_bag` is a slow loop."""
    return (
        "fbgemm" in torch.backends.quantized.supported_engines
        and torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    )


def csr_tensor(starts: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Call `torch.sparse_csr_tensor` without its checks, which take longer than a product, and without its warning."""
    _silence_first_warnings()
    return torch.sparse_csr_tensor(starts, columns, values, shape, check_invariants=False)


@functools.cache
def _silence_first_warnings() -> None:
    """Make a first CSR tensor with warnings off: torch warns once per process that this layout is in beta state.

    The warning is not needed, since the tests check products in this layout against dense ones. Torch 2.11 also warns
    at the first sparse tensor that its checks are off, even where it was told so.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value, column = torch.ones(1), torch.zeros(1, dtype=torch.int64)
        torch.sparse_csr_tensor(torch.arange(2), column, value, (1, 1), check_invariants=False)


def row_starts(rows: Tensor, count: int) -> Tensor:
    """Return the CSR row pointers `[count + 1]` of entries that are sorted by row, `rows` `[entries]`."""
    starts = torch.zeros(count + 1, dtype=torch.int64, device=rows.device)
    torch.cumsum(torch.bincount(rows, minlength=count), 0, out=starts[1:])
    return starts


def _csr_from_sorted(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Build a CSR tensor from entries that are sorted by row, with 32-bit indices where they fit."""
    index_type = torch.int32 if max(len(values), *shape) < 2**31 else torch.int64
    return csr_tensor(row_starts(rows, shape[0]).to(index_type), columns.to(index_type), values, shape)


def _with_pattern_of(csr: Tensor, values: Tensor) -> Tensor:
    return csr_tensor(csr.crow_indices(), csr.col_indices(), values, csr.shape)


def normalised_adjacency(edge_index: Tensor, nodes: int) -> SparseMatrix:
    """Build the normalised adjacency matrix `D^-1/2 (A + I) D^-1/2` `[nodes, nodes]` (Kipf & Welling 2017, eq. 2).

    `D` holds the degrees of `A + I`: every node has exactly one self loop. Self loops in `edge_index` are dropped
    first.

    `edge_index` `[2, edges]` holds (source, target); row `target` gathers from `source`, as in torch_geometric.
    """
    loops = torch.arange(nodes, device=edge_index.device)
    source, target = edge_index
    is_no_loop = source != target
    source = torch.cat([source[is_no_loop], loops])
    target = torch.cat([target[is_no_loop], loops])
    degree = torch.zeros(nodes, device=edge_index.device).scatter_add_(
        0, target, torch.ones(len(target), device=edge_index.device)
    )
    scale = degree.rsqrt()
    indices = torch.stack([target, source])
    values = scale[target] * scale[source]
    _silence_first_warnings()
    return SparseMatrix.from_tensor(
        torch.sparse_coo_tensor(indices, values, (nodes, nodes), check_invariants=False)
    )
