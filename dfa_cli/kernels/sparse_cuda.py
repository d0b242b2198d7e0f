"""Sums of rows on CUDA in a fixed order, by Triton. Import this module only where Triton is.

The plain torch line is `torch.sparse.mm(S, H)`. cuSPARSE and torch add with atomics, in the order in which threads
happen to arrive, so that two equal calls differ in their last bits. Here one program adds up a row.
"""

# ruff: noqa: ANN001, ANN202  (Triton's compiler reads the kernel)
# pyright: reportMissingImports=false, reportIndexIssue=false

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

PIECE = 256  # entries; a longer row is added up in pieces of this length, by several programs at once
TILE = 2048  # numbers that a program reads at once


class Pieces(NamedTuple):
    """Long rows in pieces: the first entry of a piece `[pieces + 1]`, and the first piece of a row `[rows + 1]`."""

    entries: Tensor
    rows: Tensor


def cut_long_rows(starts: Tensor) -> Pieces | None:
    """Cut rows into pieces of at most `PIECE` entries; `None` where no row is longer. The CPU waits for the answer."""
    counts = (starts.diff() + (PIECE - 1)) // PIECE
    if not len(counts) or int(counts.max()) <= 1:
        return None
    rows = torch.cat([counts.new_zeros(1), counts.cumsum(0, dtype=counts.dtype)])
    within = torch.arange(int(rows[-1]), device=starts.device) - rows[:-1].repeat_interleave(counts)
    first = starts[:-1].repeat_interleave(counts) + PIECE * within
    return Pieces(torch.cat([first, starts[-1:]]).to(starts.dtype), rows)


def multiply(starts: Tensor, columns: Tensor, values: Tensor, dense: Tensor, pieces: Pieces | None) -> Tensor:
    """Compute `S H` `[rows, width]` for `S` in CSR format and a dense `H` `[columns, width]`.

    `pieces`: the result of `cut_long_rows(starts)`. A row is always added up in the same order.
    """
    if pieces is None:
        return add_rows(starts, columns, values, dense)
    return add_rows(pieces.rows, None, None, add_rows(pieces.entries, columns, values, dense))


def add_rows(starts: Tensor, columns: Tensor | None, values: Tensor | None, dense: Tensor) -> Tensor:
    """Compute `out[i] = sum_e values[e] dense[columns[e]]` for `e` from `starts[i]` to `starts[i + 1] - 1`.

    Without `columns` row `e` of `dense` is taken. Without `values` each is 1.
    """
    rows, width = len(starts) - 1, dense.shape[1]
    dense = dense.contiguous()
    out = dense.new_empty(rows, width)
    if not out.numel():
        return out
    across = min(64, triton.next_power_of_2(width))
    entries = len(dense) if columns is None else len(columns)
    # A tile is as tall as a row of average length. It is a matter of shapes alone, and so is the order of the sum.
    down = min(TILE // across, triton.next_power_of_2(max(4, entries // rows)))
    _add_rows[rows, triton.cdiv(width, across)](
        starts,
        columns,
        values,
        dense,
        out,
        width,
        ENTRIES=down,
        WIDTH=across,
        TYPE=tl.float64 if dense.dtype == torch.float64 else tl.float32,
        enable_fp_fusion=True,
        num_warps=min(4, max(1, down * across // 256)),
    )
    return out


@triton.jit
def _add_rows(
    starts, columns, values, dense, out, width, ENTRIES: tl.constexpr, WIDTH: tl.constexpr, TYPE: tl.constexpr
):
    row = tl.program_id(0)
    across = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    last = tl.load(starts + row + 1)
    total = tl.zeros((ENTRIES, WIDTH), TYPE)
    for first in range(tl.load(starts + row), last, ENTRIES):
        entry = first + tl.arange(0, ENTRIES)
        there = entry < last
        at = entry
        if columns is not None:
            at = tl.load(columns + entry, mask=there, other=0)
        mask = there[:, None] & (across < width)[None, :]
        x = tl.load(dense + at[:, None].to(tl.int64) * width + across[None, :], mask=mask, other=0).to(TYPE)
        if values is not None:
            x *= tl.load(values + entry, mask=there, other=0)[:, None]
        total += x
    tl.store(out + row.to(tl.int64) * width + across, tl.sum(total, 0), mask=across < width)
