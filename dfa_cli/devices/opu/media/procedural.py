"""The transmission matrix computed when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from dfa_cli.devices.opu.media.base import Spans, require_storable
from dfa_cli.devices.opu.media.fill import BLOCK, fill, unsigned
from dfa_cli.devices.opu.media.gaussian import MOST_COLUMNS, coefficients, row_keys
from dfa_cli.devices.opu.workspace import Workspace
from dfa_cli.errors import DfaError

COLUMNS_TOGETHER = 1024  # long loops, and what they read stays in the second-level cache


class Procedural:
    """`T` never stored: each coefficient is computed from (seed, row, column) when it is needed, then
    forgotten.

    Memory does not grow with the number of coefficients, any part of the matrix can be asked for alone, and
    the matrix is its seed and its shape. Rows at which all vectors are zero are not computed. On the CPU the
    sums are equal to the last bit for any number of threads and any slicing, and for a vector alone or among
    others; on CUDA, and compared with `Dense`, they differ by the rounding of single precision.
    """

    separable = True

    def prepare(self, n_in: int, n_out: int, seed: int, compute: torch.device) -> None:
        if n_out > MOST_COLUMNS:
            raise DfaError(f"The medium has at most {MOST_COLUMNS} modes, and {n_out} were asked for.")
        self._shape = (n_in, n_out)
        self._scratch = Workspace()
        self._keys = row_keys(seed, torch.arange(n_in, device=compute))

    def fields(self, patterns: Tensor, imaginary: bool) -> Tensor:
        return next(self.fields_at(patterns, imaginary, [(0, self._shape[1])]))

    def fields_at(self, patterns: Tensor, imaginary: bool, spans: Spans) -> Iterator[Tensor]:
        multiply = _product_compiled if patterns.device.type == "cpu" else _product_by_torch
        into = multiply(self._keys, patterns)
        for first, last in spans:
            shape = len(patterns), 2 if imaginary else 1, last - first
            field = self._scratch.tensor("field", shape, patterns.device)
            into(first, field)
            yield field

    def entries(self, rows: Tensor, columns: Tensor) -> Tensor:
        real, imaginary = coefficients(self._keys[rows], columns)
        assert imaginary is not None
        return torch.complex(real, imaginary)

    def feedback_matrix(self) -> Tensor:
        n_in, n_out = self._shape
        require_storable(n_in, n_out)
        real = torch.empty(n_in, n_out, device=self._keys.device)
        fill(self._keys, real, None)
        return real


def _product_compiled(keys: Tensor, patterns: Tensor) -> Callable[[int, Tensor], None]:
    """`into(start, out)`: the product with the columns from `start` on, into `out` `[k, parts, columns]`."""
    from dfa_cli.devices.opu.media import compiled as kernels

    vectors = patterns.numpy()
    rows, inputs = vectors.nonzero()
    entries = np.searchsorted(rows, np.arange(len(vectors) + 1)), inputs, vectors[rows, inputs]

    def into(start: int, out: Tensor) -> None:
        def work(first: int, last: int) -> None:
            kernels.product(unsigned(keys), *entries, kernels.u32(start + first), out.numpy(), first, last)

        width = min(COLUMNS_TOGETHER, -(-out.shape[2] // torch.get_num_threads()))
        kernels.in_threads(work, out.shape[2], width)

    return into


def _product_by_torch(keys: Tensor, patterns: Tensor) -> Callable[[int, Tensor], None]:
    """The same with torch alone, on any of its devices: blocks of coefficients, made and multiplied."""
    # the only place that waits for an accelerator: what is zero is skipped
    lit = patterns.any(0).nonzero().squeeze(1)

    def into(start: int, out: Tensor) -> None:
        out.zero_()
        width = min(out.shape[2], 1 << 16)
        for first in range(0, out.shape[2], width):
            columns = torch.arange(start + first, start + min(first + width, out.shape[2]), device=out.device)
            for rows in lit.split(max(1, BLOCK // width)):
                made = coefficients(keys[rows], columns, out.shape[1] == 2)
                for part, coefficient in enumerate(made[: out.shape[1]]):
                    assert coefficient is not None
                    out[:, part, first : first + width] += patterns[:, rows] @ coefficient

    return into
