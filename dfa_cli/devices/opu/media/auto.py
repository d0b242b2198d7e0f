"""Chooses the medium by the size of its matrix."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import torch
from torch import Tensor

from dfa_cli.devices.opu.media.base import Medium, Spans
from dfa_cli.devices.opu.media.dense import Dense
from dfa_cli.devices.opu.media.procedural import Procedural
from dfa_cli.devices.opu.media.structured import Structured

log = logging.getLogger(__name__)
# Both limits count coefficients. Storing 2^25 of them takes 256 MB. Computing 2^36 of them takes about a minute at each
# projection.
STORED_UP_TO, COMPUTED_UP_TO = 1 << 25, 1 << 36


class Auto:
    """Chooses the medium by the number of coefficients, and logs its choice.

    `Dense` up to 2^25 coefficients, `Procedural` up to 2^36, `Structured` beyond.
    """

    def prepare(self, n_in: int, n_out: int, seed: int, compute: torch.device) -> None:
        size = n_in * n_out
        choice = Dense if size <= STORED_UP_TO else Procedural if size <= COMPUTED_UP_TO else Structured
        log.info("device.medium=auto: %s, for %d x %d coefficients", choice.__name__.lower(), n_in, n_out)
        self.chosen: Medium = choice()
        self.chosen.prepare(n_in, n_out, seed, compute)
        self.separable = self.chosen.separable

    def fields(self, patterns: Tensor, imaginary: bool) -> Tensor:
        return self.chosen.fields(patterns, imaginary)

    def fields_at(self, patterns: Tensor, imaginary: bool, spans: Spans) -> Iterator[Tensor]:
        return self.chosen.fields_at(patterns, imaginary, spans)

    def entries(self, rows: Tensor, columns: Tensor) -> Tensor:
        return self.chosen.entries(rows, columns)

    def feedback_matrix(self) -> Tensor:
        return self.chosen.feedback_matrix()
