"""Products with constant sparse matrices: node features and normalised adjacencies.

The plain torch line is `torch.sparse.mm(S, H)`.
"""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

SUM = 0  # torch.embedding_bag's number for it


@dataclass(frozen=True, eq=False)
class SparseMatrix:
    """A constant `S` `[rows, columns]` in CSR with its transpose beside it, so that no step has to transpose.

    `order` maps the values of `S` to those of its transpose: `transposed.values() == csr.values()[order]`. Indices
    are 32 bit where they fit: the sparse product on a CPU takes no others, and would copy them every time.
    """

    csr: Tensor
    transposed: Tensor
    order: Tensor

    @classmethod
    def of(cls, matrix: Tensor) -> SparseMatrix:
        """From a `torch.sparse_csr` or `torch.sparse_coo` tensor."""
        coo = matrix.detach().to_sparse_coo().coalesce()
        rows, columns = coo.indices()
        order = torch.argsort(columns, stable=True)
        transposed = _from_sorted(columns[order], rows[order], coo.values()[order], coo.shape[::-1])
        return cls(_from_sorted(rows, columns, coo.values(), coo.shape), transposed, order)

    @property
    def shape(self) -> torch.Size:
        return self.csr.shape

    def with_values(self, values: Tensor) -> SparseMatrix:
        """The same places, other values `[stored]`."""
        transposed = _like(self.transposed, values.index_select(0, self.order))
        return SparseMatrix(_like(self.csr, values), transposed, self.order)

    @cached_property
    def dense(self) -> Tensor:
        return self.csr.to_dense()

    def to(self, device: torch.device | str) -> SparseMatrix:
        return SparseMatrix(self.csr.to(device), self.transposed.to(device), self.order.to(device))

    def __matmul__(self, dense: Tensor) -> Tensor:
        """`S H` `[rows, width]` for a dense `H` `[columns, width]`; its gradient is `S^T G`."""
        return _Product.apply(self.csr, self.transposed, dense)  # type: ignore[no-any-return]

    def transpose_matmul(self, signal: Tensor) -> Tensor:
        """`S^T G` `[columns, width]` for a signal `G` `[rows, width]` at the product; nothing for autograd."""
        return _times(self.transposed, signal)


class _Product(torch.autograd.Function):
    """torch's own sparse product would also prepare the gradient of the constant matrix."""

    @staticmethod
    def forward(ctx: Any, csr: Tensor, transposed: Tensor, dense: Tensor) -> Tensor:  # type: ignore[override]
        ctx.transposed = transposed
        return _times(csr, dense)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor):  # type: ignore[override]
        return None, None, _times(ctx.transposed, gradient)


def _times(csr: Tensor, dense: Tensor) -> Tensor:
    """`S H` without gradients.

    In float32 on an x86 processor as embedding bags: row `i` is the sum of the rows `H[columns of i]`, weighted. They
    fetch the rows ahead; on an AMD EPYC they are as fast as the sparse product when `H` is 16 wide, three times as
    fast when it is 64 wide, and more beyond.
    """
    if dense.dtype != torch.float32 or dense.device.type != "cpu" or not _fast_bags():
        return csr @ dense
    return torch.embedding_bag(
        dense.contiguous(),
        csr.col_indices(),
        csr.crow_indices(),
        mode=SUM,
        per_sample_weights=csr.values(),
        include_last_offset=True,
    )[0]


@functools.cache
def _fast_bags() -> bool:
    """Whether torch has its library for them, FBGEMM; without, and without its instructions, a bag is a plain loop."""
    return (
        "fbgemm" in torch.backends.quantized.supported_engines
        and torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    )


def csr_tensor(starts: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """`torch.sparse_csr_tensor`, without its checks, which take longer than a product, and without its warning."""
    _let_torch_warn_unheard()
    return torch.sparse_csr_tensor(starts, columns, values, shape, check_invariants=False)


@functools.cache
def _let_torch_warn_unheard() -> None:
    """Makes a first CSR tensor: of that one torch says, once in every process, that the layout is in beta state.

    The tests hold this layout to a second route.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, none = torch.ones(1), torch.zeros(1, dtype=torch.int64)
        torch.sparse_csr_tensor(torch.arange(2), none, one, (1, 1), check_invariants=False)


def row_starts(rows: Tensor, count: int) -> Tensor:
    """Where each of `count` rows starts among entries that are sorted by row `[entries]`, and where the last ends."""
    starts = torch.zeros(count + 1, dtype=torch.int64, device=rows.device)
    torch.cumsum(torch.bincount(rows, minlength=count), 0, out=starts[1:])
    return starts


def _from_sorted(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """CSR from entries that are sorted by row; with indices of 32 bits where they fit."""
    index = torch.int32 if max(len(values), *shape) < 2**31 else torch.int64
    return csr_tensor(row_starts(rows, shape[0]).to(index), columns.to(index), values, shape)


def _like(csr: Tensor, values: Tensor) -> Tensor:
    return csr_tensor(csr.crow_indices(), csr.col_indices(), values, csr.shape)


def normalised_adjacency(edge_index: Tensor, nodes: int) -> SparseMatrix:
    """`D^-1/2 (A + I) D^-1/2` `[nodes, nodes]`, `D` the degrees of `A + I` (Kipf & Welling 2017, eq. 2).

    `edge_index` `[2, edges]` holds (source, target); row `target` gathers from `source`, as in torch_geometric.
    """
    loops = torch.arange(nodes, device=edge_index.device)
    source, target = edge_index
    apart = source != target
    source = torch.cat([source[apart], loops])
    target = torch.cat([target[apart], loops])
    degree = torch.zeros(nodes, device=edge_index.device).scatter_add_(
        0, target, torch.ones(len(target), device=edge_index.device)
    )
    scale = degree.rsqrt()
    indices = torch.stack([target, source])
    values = scale[target] * scale[source]
    return SparseMatrix.of(torch.sparse_coo_tensor(indices, values, (nodes, nodes), check_invariants=False))
