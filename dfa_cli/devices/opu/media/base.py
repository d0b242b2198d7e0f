"""The scattering medium: a transmission matrix `T` `[n_in, n_out]` of circular complex Gaussian entries.

Every mirror sends light to every mode by more paths than can be counted, so the entries are sums of many
independent phasors: complex Gaussian, independent and circular (Popoff et al. 2010, Phys. Rev. Lett. 104,
100601; Saade et al. 2016, arXiv 1510.06664). Real and imaginary parts have unit variance each: `Re T` is the
feedback matrix `B`, and a lit mirror gives each mode an intensity of 2 on average.

Three ways to hold it, one contract: `Dense` and `Procedural` are the same matrix for the same seed;
`Structured` is another, an approximation for the extreme sizes. `Auto` picks by size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from dfa_cli.errors import DfaError

MOST_STORED = 1 << 28  # coefficients: 2 GiB; computing them needs no memory

Spans = Sequence[tuple[int, int]]  # of modes: first and past the last


class Medium(Protocol):
    """`prepare` fixes the matrix; the others may be called at any time after it.

    `separable`: whether the field at some of the modes costs no more than their share of all.
    """

    separable: bool

    def prepare(self, n_in: int, n_out: int, seed: int, compute: torch.device) -> None: ...

    def fields(self, patterns: Tensor, imaginary: bool) -> Tensor:
        """`[k, n_in]` float32 -> `[k, parts, n_out]`: `patterns @ Re T` and, when `imaginary`, `patterns @ Im
        T`.

        The next call may overwrite what this one returned.
        """
        ...

    def fields_at(self, patterns: Tensor, imaginary: bool, spans: Spans) -> Iterator[Tensor]:
        """`fields` at the modes from `first` to `last - 1` alone, for each `(first, last)`."""
        ...

    def entries(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Entries of `T`, complex64 `[len(rows), len(columns)]`, for int64 indices."""
        ...

    def feedback_matrix(self) -> Tensor:
        """`Re T` `[n_in, n_out]`, float32. Raises `DfaError` when it is too large to be stored."""
        ...


def require_storable(n_in: int, n_out: int) -> None:
    """Raises `DfaError` for a matrix too large to be stored."""
    if n_in * n_out > MOST_STORED:
        raise DfaError(
            f"A stored matrix of {n_in} x {n_out} coefficients is above the {MOST_STORED} that may be stored; use "
            "device/medium=procedural, which needs no memory for it."
        )
