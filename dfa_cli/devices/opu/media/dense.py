"""A medium that stores its transmission matrix."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from dfa_cli.devices.opu.media.base import Spans, require_storable
from dfa_cli.devices.opu.media.fill import fill
from dfa_cli.devices.opu.media.gaussian import row_keys
from dfa_cli.devices.opu.workspace import Workspace


class Dense:
    """Stores the transmission matrix as `[Re T | Im T]` `[n_in, 2 n_out]`.

    One matrix product then gives both parts of the field. `Dense` is the fastest medium while the matrix fits in
    memory.
    `prepare` raises `DfaError` above 2^28 coefficients, of 8 bytes each.
    """

    separable = True

    def prepare(self, n_in: int, n_out: int, seed: int, compute: torch.device) -> None:
        require_storable(n_in, n_out)
        self._n_out = n_out
        self._scratch = Workspace()
        self._real_and_imaginary = torch.empty(n_in, 2 * n_out, device=compute)
        keys = row_keys(seed, torch.arange(n_in, device=compute))
        fill(keys, self._real_and_imaginary[:, :n_out], self._real_and_imaginary[:, n_out:])

    @staticmethod
    def sum_of(weights: Sequence[float], media: Sequence[Dense]) -> Dense:
        """Return a medium whose matrix is the weighted sum of those of `media`, which are prepared already."""
        total = copy.copy(media[0])
        total._scratch = Workspace()
        total._real_and_imaginary = media[0]._real_and_imaginary * weights[0]
        for weight, medium in zip(weights[1:], media[1:], strict=True):
            total._real_and_imaginary.add_(medium._real_and_imaginary, alpha=weight)
        return total

    def fields(self, patterns: Tensor, imaginary: bool) -> Tensor:
        return next(self.fields_at(patterns, imaginary, [(0, self._n_out)]))

    def fields_at(self, patterns: Tensor, imaginary: bool, spans: Spans) -> Iterator[Tensor]:
        matrix = self._real_and_imaginary
        for first, last in spans:
            shape = len(patterns), 2 if imaginary else 1, last - first
            field = self._scratch.tensor("field", shape, matrix.device)
            if (first, last) == (0, self._n_out):
                columns = matrix if imaginary else matrix[:, : self._n_out]
                torch.mm(patterns, columns, out=field.view(len(patterns), -1))
            else:
                for part in range(shape[1]):
                    start = part * self._n_out + first
                    torch.mm(patterns, matrix[:, start : start + last - first], out=field[:, part])
            yield field

    def entries(self, rows: Tensor, columns: Tensor) -> Tensor:
        selected_rows = self._real_and_imaginary[rows]
        return torch.complex(selected_rows[:, columns], selected_rows[:, columns + self._n_out])

    def feedback_matrix(self) -> Tensor:
        return self._real_and_imaginary[:, : self._n_out]
