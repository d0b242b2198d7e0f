"""The scattering medium: a transmission matrix `T` `[n_in, n_out]` of circular complex Gaussian entries.

Every mirror sends light to every mode by more paths than can be counted, so the entries are sums of many
independent phasors: complex Gaussian, independent and circular (Popoff et al. 2010, Phys. Rev. Lett. 104,
100601; Saade et al. 2016, arXiv 1510.06664). Real and imaginary parts have unit variance each: `Re T` is the
feedback matrix `B`, and a lit mirror gives each mode an intensity of 2 on average.

Three ways to hold it, one contract: `Dense` and `Procedural` are the same matrix for the same seed;
`Structured` is another, an approximation for the extreme sizes. `Auto` picks by size.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dfa_cli.devices.opu.gaussian import MOST_COLUMNS, coefficients, row_keys
from dfa_cli.devices.opu.hadamard import transform
from dfa_cli.devices.opu.workspace import Workspace
from dfa_cli.errors import DfaError

log = logging.getLogger(__name__)
BLOCK = 1 << 22  # coefficients that torch makes at once
SIGNS_AT_ONCE = 1 << 18
COLUMNS_TOGETHER = 1024  # long loops, and what they read stays in the second-level cache
WORTH_COMPILING = 1 << 21  # coefficients from which the compiled generator is worth its start
MOST_STORED = 1 << 28


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

    def block(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Entries of `T`, complex64 `[len(rows), len(columns)]`, for int64 indices."""
        ...

    def real_part(self) -> Tensor:
        """`Re T` `[n_in, n_out]`, float32. Raises `DfaError` when it is too large to be stored."""
        ...


class Dense:
    """`T` stored as `[Re T | Im T]` `[n_in, 2 n_out]`: one product gives both parts of the field.

    `most`: coefficients that may be stored, 8 bytes each. `prepare` raises `DfaError` beyond.
    """

    separable = True

    def __init__(self, most: int = MOST_STORED):
        self.most = most
        self._scratch = Workspace()

    def prepare(self, n_in: int, n_out: int, seed: int, compute: torch.device) -> None:
        if n_in * n_out > self.most:
            raise too_large(n_in, n_out, self.most)
        self._n_out = n_out
        self._parts = torch.empty(n_in, 2 * n_out, device=compute)
        keys = row_keys(seed, torch.arange(n_in, device=compute))
        _fill(keys, self._parts[:, :n_out], self._parts[:, n_out:])

    def fields(self, patterns: Tensor, imaginary: bool) -> Tensor:
        parts = self._parts if imaginary else self._parts[:, : self._n_out]
        field = self._scratch.tensor("field", (len(patterns), parts.shape[1]), parts.device)
        return torch.mm(patterns, parts, out=field).view(len(patterns), -1, self._n_out)

    def fields_at(self, patterns: Tensor, imaginary: bool, spans: Spans) -> Iterator[Tensor]:
        starts = (0, self._n_out) if imaginary else (0,)
        for first, last in spans:
            if (first, last) == (0, self._n_out):
                yield self.fields(patterns, imaginary)
                continue
            yield torch.stack([patterns @ self._parts[:, n + first : n + last] for n in starts], 1)

    def block(self, rows: Tensor, columns: Tensor) -> Tensor:
        of_rows = self._parts[rows]
        return torch.complex(of_rows[:, columns], of_rows[:, columns + self._n_out])

    def real_part(self) -> Tensor:
        return self._parts[:, : self._n_out]


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

    def block(self, rows: Tensor, columns: Tensor) -> Tensor:
        real, imaginary = coefficients(self._keys[rows], columns)
        assert imaginary is not None
        return torch.complex(real, imaginary)

    def real_part(self) -> Tensor:
        n_in, n_out = self._shape
        if n_in * n_out > MOST_STORED:
            raise too_large(n_in, n_out, MOST_STORED)
        real = torch.empty(n_in, n_out, device=self._keys.device)
        _fill(self._keys, real, None)
        return real


class Structured:
    """`Re T` and `Im T`, each `sqrt(n) H D3 H D2 H D1` of its own signs, cut to `[n_in, n_out]`: O(n log n).

        H = orthonormal Walsh-Hadamard transform of size n,  n = next power of 2 >= max(n_in, n_out)
        D = diagonal of random signs

    An approximation of a Gaussian matrix: entries have unit variance and are Gaussian to within 1 / sqrt(n),
    and projections keep lengths and inner products at least as well, but entries are not independent. The
    columns of a square one are exactly orthogonal, so that `|project(e)|^2 / n_out` does not fluctuate as it
    does in a medium.

    Choromanski et al. 2017 (arXiv 1703.00864); Yu et al. 2016 (arXiv 1610.09072).
    """

    separable = False

    def prepare(self, n_in: int, n_out: int, seed: int, compute: torch.device) -> None:
        self._shape = (n_in, n_out)
        self._size = 1 << max(1, (max(n_in, n_out) - 1).bit_length())
        keys = row_keys(seed, torch.arange(6, device=compute))
        self._signs = torch.empty(6, self._size, device=compute)
        for first in range(0, self._size, SIGNS_AT_ONCE):
            last = min(first + SIGNS_AT_ONCE, self._size)
            drawn, _ = coefficients(keys, torch.arange(first, last, device=compute), imaginary=False)
            self._signs[:, first:last] = drawn.sign()

    def fields(self, patterns: Tensor, imaginary: bool) -> Tensor:
        n_in, n_out = self._shape
        out = patterns.new_empty(len(patterns), 2 if imaginary else 1, n_out)
        for part in range(out.shape[1]):
            signs = self._signs[3 * part : 3 * part + 3]
            x = patterns.new_zeros(len(patterns), self._size)
            torch.mul(patterns, signs[0, :n_in], out=x[:, :n_in])
            for i in (1, 2):
                x = transform(x).mul_(signs[i] * self._size**-0.5)
            out[:, part] = transform(x)[:, :n_out]
        return out

    def fields_at(self, patterns: Tensor, imaginary: bool, spans: Spans) -> Iterator[Tensor]:
        field = self.fields(patterns, imaginary)
        for first, last in spans:
            yield field[:, :, first:last]

    def block(self, rows: Tensor, columns: Tensor) -> Tensor:
        parts = self.fields(_one_hot(rows, self._shape[0]), imaginary=True)[:, :, columns]
        return torch.complex(parts[:, 0], parts[:, 1])

    def real_part(self) -> Tensor:
        n_in, n_out = self._shape
        if n_in * n_out > MOST_STORED:
            raise too_large(n_in, n_out, MOST_STORED)
        every = torch.arange(n_in, device=self._signs.device).split(max(1, BLOCK // self._size))
        return torch.cat([self.fields(_one_hot(rows, n_in), imaginary=False)[:, 0] for rows in every])


class Auto:
    """`Dense` up to `dense` coefficients, `Procedural` up to `procedural`, `Structured` beyond; logs
    which."""

    def __init__(self, dense: int = 1 << 25, procedural: int = 1 << 36):
        self.dense = dense
        self.procedural = procedural

    def prepare(self, n_in: int, n_out: int, seed: int, compute: torch.device) -> None:
        size = n_in * n_out
        choice = Dense if size <= self.dense else Procedural if size <= self.procedural else Structured
        log.info("device.medium=auto: %s, for %d x %d coefficients", choice.__name__.lower(), n_in, n_out)
        self.chosen: Medium = choice()
        self.chosen.prepare(n_in, n_out, seed, compute)
        self.separable = self.chosen.separable

    def fields(self, patterns: Tensor, imaginary: bool) -> Tensor:
        return self.chosen.fields(patterns, imaginary)

    def fields_at(self, patterns: Tensor, imaginary: bool, spans: Spans) -> Iterator[Tensor]:
        return self.chosen.fields_at(patterns, imaginary, spans)

    def block(self, rows: Tensor, columns: Tensor) -> Tensor:
        return self.chosen.block(rows, columns)

    def real_part(self) -> Tensor:
        return self.chosen.real_part()


def too_large(n_in: int, n_out: int, most: int) -> DfaError:
    return DfaError(
        f"A stored matrix of {n_in} x {n_out} coefficients is above the {most} that may be stored; use "
        "device/medium=procedural, which needs no memory for it, or raise most in device/medium=dense."
    )


def _one_hot(rows: Tensor, n_in: int) -> Tensor:
    return torch.zeros(len(rows), n_in, device=rows.device).scatter_(1, rows[:, None], 1.0)


def _fill(keys: Tensor, real: Tensor, imaginary: Tensor | None) -> None:
    """Every coefficient of the rows with `keys`, into `real` and `imaginary` `[n_in, n_out]`."""
    n_in, n_out = real.shape
    if real.device.type == "cpu" and real.numel() >= WORTH_COMPILING:
        from dfa_cli.devices.opu import kernels

        empty = torch.empty(n_in, 0)

        def work(first: int, last: int) -> None:
            parts = [empty if part is None else part[:, first:last] for part in (real, imaginary)]
            kernels.fill(_unsigned(keys), kernels.u32(first), parts[0].numpy(), parts[1].numpy())

        kernels.in_threads(work, n_out, 1024)
        return
    columns = torch.arange(n_out, device=real.device)
    rows = max(1, BLOCK // n_out)
    for first in range(0, n_in, rows):
        made = coefficients(keys[first : first + rows], columns, imaginary is not None)
        real[first : first + rows] = made[0]
        if imaginary is not None and made[1] is not None:
            imaginary[first : first + rows] = made[1]


def _product_compiled(keys: Tensor, patterns: Tensor) -> Callable[[int, Tensor], None]:
    """`into(start, out)`: the product with the columns from `start` on, into `out` `[k, parts, columns]`."""
    from dfa_cli.devices.opu import kernels

    vectors = patterns.numpy()
    rows, inputs = vectors.nonzero()
    entries = np.searchsorted(rows, np.arange(len(vectors) + 1)), inputs, vectors[rows, inputs]

    def into(start: int, out: Tensor) -> None:
        def work(first: int, last: int) -> None:
            kernels.product(_unsigned(keys), *entries, kernels.u32(start + first), out.numpy(), first, last)

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


def _unsigned(keys: Tensor) -> np.ndarray:
    return keys.numpy().view("uint32")
