"""The interface of a scattering medium, which multiplies light with its transmission matrix `T` `[n_in, n_out]`.

The entries of `T` are independent circular complex Gaussian numbers. Light goes from a mirror (an input) to a
mode (an output) by many independent paths, so an entry is a sum of many independent phasors (Popoff et al. 2010, Phys.
Rev. Lett. 104, 100601; Saade et al. 2016, arXiv 1510.06664). Real and imaginary parts have unit variance each. `Re T`
is the feedback matrix `B`, and a lit mirror gives each mode an intensity of 2 on average.

`Dense` and `Procedural` hold the same matrix for the same seed. `Structured` holds a different matrix, which
approximates a Gaussian one for extreme sizes. `Auto` chooses a medium by the size of the matrix.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from dfa_cli.devices.parts import Span
from dfa_cli.errors import DfaError
from dfa_cli.machine.memory import gigabytes

MAX_STORED = 1 << 28  # coefficients of 8 bytes, 2 GiB

Spans = Sequence[Span]  # ranges of modes


class PreparedMedium(Protocol):
    """A scattering medium whose matrix is fixed.

    `separable`: whether the field at a part of the modes can be computed alone, for the same part of the cost.
    """

    separable: bool

    def fields(self, patterns: Tensor, imaginary: bool) -> Tensor:
        """Multiply `patterns` `[k, n_in]`, float32, with the matrix. Returns `[k, parts, n_out]`.

        The parts are `patterns @ Re T` and, with `imaginary`, `patterns @ Im T`. The next call may overwrite the
        returned tensor.
        """
        ...

    def fields_at(self, patterns: Tensor, imaginary: bool, spans: Spans) -> Iterator[Tensor]:
        """Yield, for each span `(first, last)`, the result of `fields` at the modes `first` to `last - 1`."""
        ...

    def entries(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return the entries of `T` at int64 indices, complex64 `[len(rows), len(columns)]`."""
        ...

    def feedback_matrix(self) -> Tensor:
        """Return `B = Re T` `[n_in, n_out]`, float32. Raises `DfaError` when it is too large to be stored."""
        ...


class Medium(PreparedMedium, Protocol):
    """A scattering medium. `prepare` fixes its matrix; call it before any other method.

    A copy (`copy.copy`) that is prepared again shares nothing with the medium that it was copied from.
    """

    def prepare(self, n_in: int, n_out: int, seed: int, compute: torch.device) -> None: ...


def require_storable(n_in: int, n_out: int) -> None:
    """Raise `DfaError` for a matrix that is too large to be stored."""
    if n_in * n_out > MAX_STORED:
        raise DfaError(
            f"A matrix of {n_in} x {n_out} coefficients takes {gigabytes(8 * n_in * n_out)} of memory. At most "
            f"{gigabytes(8 * MAX_STORED)} may be stored. Use device/medium=procedural, which computes them and needs "
            "no memory for them, or a smaller model."
        )
