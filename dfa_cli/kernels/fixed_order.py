"""Sums over the edges of a graph in a fixed order, for layers that are written with torch's own operations.

On CUDA `scatter_add_`, and the gradient of `index_select`, add with atomics, in the order in which threads happen to
arrive. So two equal runs differ in their last bits. On the CPU they add in a fixed order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from dfa_cli.kernels.cuda import has_triton


class FixedOrder(TorchFunctionMode):
    """A context in which `scatter_add_` and the gradient of `index_select` add the same row in the same order.

    The indices are sorted once in each context. Those that are parts of `edges` stay sorted for the contexts that
    follow, so `edges` must not change.
    """

    def __init__(self, edges: Tensor):
        super().__init__()
        self._edges = edges
        self._sorted: dict[tuple[int, ...], _Sorted] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        replacement = REPLACEMENTS.get(func)
        result = None if replacement is None or kwargs else replacement(self, *args)
        return func(*args, **(kwargs or {})) if result is None else result

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        memory = self._edges.untyped_storage().data_ptr()
        self._sorted = {
            key: one for key, one in self._sorted.items() if one.index.untyped_storage().data_ptr() == memory
        }

    def _sort(self, index: Tensor, rows: int) -> _Sorted:
        key = (index.data_ptr(), len(index), index.stride(0), index._version, rows)
        if key not in self._sorted:
            self._sorted[key] = _Sorted(index, rows)
        return self._sorted[key]

    def _select(self, source: Tensor, dim: int, index: Tensor) -> Tensor | None:
        if not (torch.is_grad_enabled() and source.requires_grad):
            return None
        moved = source.movedim(dim, 0)
        return _Select.apply(moved, self._sort(index, len(moved))).movedim(0, dim)  # type: ignore[union-attr]

    def _scatter_add(self, to: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor | None:
        index, source = index.movedim(dim, 0), source.movedim(dim, 0)
        if index.shape != source.shape or any(
            stride and size > 1 for stride, size in zip(index.stride()[1:], index.shape[1:], strict=True)
        ):
            return None  # not one index for each row
        index = index[(slice(None), *(0,) * (index.dim() - 1))]
        sums = _Add.apply(source, self._sort(index, to.shape[dim]))
        return to.add_(sums.movedim(0, dim))  # type: ignore[union-attr]


REPLACEMENTS = {
    torch.index_select: FixedOrder._select,
    Tensor.index_select: FixedOrder._select,
    Tensor.scatter_add_: FixedOrder._scatter_add,
}


class _Sorted:
    """An index `[entries]` into `rows` rows, and the entries of each row in CSR format."""

    def __init__(self, index: Tensor, rows: int):
        self.index = index
        ascending, self.entries = index.sort(stable=True)
        self.starts = torch.searchsorted(ascending, torch.arange(rows + 1, device=index.device))

    def sums(self, values: Tensor) -> Tensor:
        """Compute `out[i] = sum of values[e] with index[e] = i`, `[rows, ...]`, for `values` `[entries, ...]`."""
        rows = len(self.starts) - 1
        flat = values.reshape(len(self.index), -1)
        if has_triton():
            from dfa_cli.kernels import sparse_cuda

            out = sparse_cuda.add_rows(self.starts, self.entries, None, flat)
        else:  # `index_put_` sorts on CUDA as well, in each call.
            out = flat.new_zeros(rows, flat.shape[1]).index_put_((self.index,), flat, accumulate=True)
        return out.view(rows, *values.shape[1:])


class _Select(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, source: Tensor, order: _Sorted) -> Tensor:  # type: ignore[override]
        ctx.order = order
        return source.index_select(0, order.index)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor):  # type: ignore[override]
        return ctx.order.sums(gradient), None


class _Add(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, source: Tensor, order: _Sorted) -> Tensor:  # type: ignore[override]
        ctx.order = order
        return order.sums(source)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor):  # type: ignore[override]
        return gradient.index_select(0, ctx.order.index), None
