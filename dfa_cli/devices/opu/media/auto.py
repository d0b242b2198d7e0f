"""The medium chosen by its size."""

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
