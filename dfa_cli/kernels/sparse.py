"""Products with constant sparse matrices: node features and normalised adjacencies."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

# torch announces its CSR layout as a beta on the first use in every process; the tests hold it to a second route.
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
warnings.filterwarnings("ignore", message="Sparse invariant checks are implicitly disabled")

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
        transposed = _csr(columns[order], rows[order], coo.values()[order], (coo.shape[1], coo.shape[0]))
        return cls(_csr(rows, columns, coo.values(), (coo.shape[0], coo.shape[1])), transposed, order)

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

    def passed_back(self, signal: Tensor) -> Tensor:
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


def _csr(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    index = torch.int32 if max(len(values), *shape) < 2**31 else torch.int64
    starts = torch.zeros(shape[0] + 1, dtype=torch.int64, device=rows.device)
    torch.cumsum(torch.bincount(rows, minlength=shape[0]), 0, out=starts[1:])
    return torch.sparse_csr_tensor(starts.to(index), columns.to(index), values, shape, check_invariants=False)


def _like(csr: Tensor, values: Tensor) -> Tensor:
    return torch.sparse_csr_tensor(
        csr.crow_indices(), csr.col_indices(), values, csr.shape, check_invariants=False
    )


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
    return SparseMatrix.of(torch.sparse_coo_tensor(indices, values, (nodes, nodes)).coalesce())
