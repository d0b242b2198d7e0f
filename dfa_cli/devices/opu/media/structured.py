"""A medium whose transmission matrix is made of random signs and fast Hadamard transforms."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dfa_cli.devices.opu.media.base import Spans, require_storable
from dfa_cli.devices.opu.media.fill import BLOCK
from dfa_cli.devices.opu.media.gaussian import coefficients, row_keys
from dfa_cli.devices.opu.media.hadamard import transform

SIGNS_AT_ONCE = 1 << 18


class Structured:
    """Approximates a Gaussian transmission matrix by fast transforms, in O(n log n) operations.

    Use it for extreme sizes.

        Re T = sqrt(n) H D3 H D2 H D1, cut to [n_in, n_out];  Im T likewise, with other signs
        H = orthonormal Walsh-Hadamard transform of size n,  n = next power of 2 >= max(n_in, n_out)
        D = diagonal of random signs

    Entries have unit variance and are Gaussian to within `1 / sqrt(n)`. Projections keep lengths and inner products
    at least as well as those of a Gaussian matrix. But the entries are not independent: the columns of a square
    matrix are exactly orthogonal, so that `|project(e)|^2 / n_out` does not fluctuate as it does in a real
    medium.

    Choromanski et al. 2017 (arXiv 1703.00864); Yu et al. 2016 (arXiv 1610.09072).
    """

    separable = False

    def prepare(self, n_in: int, n_out: int, seed: int, compute: torch.device) -> None:
        self._shape = (n_in, n_out)
        self._size = 1 << max(1, (max(n_in, n_out) - 1).bit_length())
        # six diagonals of signs: three for the real part, three for the imaginary part
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

    def entries(self, rows: Tensor, columns: Tensor) -> Tensor:
        parts = self.fields(one_hot(rows, self._shape[0]).float(), imaginary=True)[:, :, columns]
        return torch.complex(parts[:, 0], parts[:, 1])

    def feedback_matrix(self) -> Tensor:
        n_in, n_out = self._shape
        require_storable(n_in, n_out)
        row_blocks = torch.arange(n_in, device=self._signs.device).split(max(1, BLOCK // self._size))
        return torch.cat(
            [self.fields(one_hot(rows, n_in).float(), imaginary=False)[:, 0] for rows in row_blocks]
        )
