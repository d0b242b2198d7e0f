"""A medium that computes its transmission matrix while it multiplies."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from dfa_cli.devices.opu.media.base import Spans, require_storable
from dfa_cli.devices.opu.media.fill import BLOCK, fill, unsigned
from dfa_cli.devices.opu.media.gaussian import MAX_COLUMNS, coefficients, row_keys
from dfa_cli.devices.opu.workspace import Workspace
from dfa_cli.errors import DfaError
from dfa_cli.kernels.cuda import has_triton
from dfa_cli.kernels.threads import in_threads

# So many columns that the inner loops are long, and so few that their data stay in the second-level cache.
COLUMNS_AT_ONCE = 1024


class Procedural:
    """Never stores the transmission matrix: a coefficient is computed from (seed, row, column) when it is needed.

    Memory does not grow with the number of coefficients, and any part of the matrix can be computed alone. Use it
    for matrices that are too large to be stored. Rows at which all vectors are zero are skipped.

    On the CPU a product has the same bits for any number of threads and any span of columns, and whether a vector is
    multiplied alone or with others. On CUDA, and compared with `Dense`, products differ by the rounding of single
    precision.
    """

    separable = True

    def prepare(self, n_in: int, n_out: int, seed: int, compute: torch.device) -> None:
        if n_out > MAX_COLUMNS:
            raise DfaError(
                f"A projection to {n_out} modes is too large. The medium has at most {MAX_COLUMNS} modes."
            )
        self._shape = (n_in, n_out)
        self._scratch = Workspace()
        self._keys = row_keys(seed, torch.arange(n_in, device=compute))

    def fields(self, patterns: Tensor, imaginary: bool) -> Tensor:
        return next(self.fields_at(patterns, imaginary, [(0, self._shape[1])]))

    def fields_at(self, patterns: Tensor, imaginary: bool, spans: Spans) -> Iterator[Tensor]:
        multiply_into = _product(self._keys, patterns)
        for first, last in spans:
            shape = len(patterns), 2 if imaginary else 1, last - first
            field = self._scratch.tensor("field", shape, patterns.device)
            multiply_into(first, field)
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


def _product(keys: Tensor, patterns: Tensor) -> Callable[[int, Tensor], None]:
    if patterns.is_cpu:
        return _compiled_product(keys, patterns)
    if patterns.is_cuda and has_triton():
        from dfa_cli.devices.opu.media import compiled_cuda

        return compiled_cuda.product(keys, patterns)
    return _torch_product(keys, patterns)


def _compiled_product(keys: Tensor, patterns: Tensor) -> Callable[[int, Tensor], None]:
    """Return a function `multiply_into(start, out)` that multiplies `patterns` `[k, n_in]` by the transmission matrix.

    It computes the output columns from `start` on and writes them into `out` `[k, parts, columns]`. `parts` is 1 for
    the real part alone, and 2 for the real and the imaginary part.
    """
    from dfa_cli.devices.opu.media import compiled as kernels

    vectors = patterns.numpy()
    rows, inputs = vectors.nonzero()
    # the starts, inputs and values of the vectors in CSR format, as `multiply` takes them
    csr = np.searchsorted(rows, np.arange(len(vectors) + 1)), inputs, vectors[rows, inputs]

    def multiply_into(start: int, out: Tensor) -> None:
        def work(first: int, last: int) -> None:
            kernels.multiply(unsigned(keys), *csr, kernels.u32(start + first), out.numpy(), first, last)

        width = min(COLUMNS_AT_ONCE, -(-out.shape[2] // torch.get_num_threads()))
        in_threads(work, out.shape[2], width)

    return multiply_into


def _torch_product(keys: Tensor, patterns: Tensor) -> Callable[[int, Tensor], None]:
    """Return the same function as `_compiled_product`, written in torch for any device.

    It computes and multiplies one block of the matrix at a time.
    """
    # The coefficients of inputs that are zero in every pattern are not computed. To find these inputs, the CPU has to
    # wait for the accelerator.
    lit = patterns.any(0).nonzero().squeeze(1)

    def multiply_into(start: int, out: Tensor) -> None:
        out.zero_()
        width = min(out.shape[2], 1 << 16)
        for first in range(0, out.shape[2], width):
            columns = torch.arange(start + first, start + min(first + width, out.shape[2]), device=out.device)
            for rows in lit.split(max(1, BLOCK // width)):
                parts = coefficients(keys[rows], columns, out.shape[1] == 2)
                for part, coefficient in enumerate(parts[: out.shape[1]]):
                    assert coefficient is not None
                    out[:, part, first : first + width] += patterns[:, rows] @ coefficient

    return multiply_into
