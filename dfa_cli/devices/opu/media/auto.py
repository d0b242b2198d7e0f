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
from dfa_cli.kernels.cuda import has_triton

log = logging.getLogger(__name__)
# Both limits count coefficients. Storing 2^25 of them takes 256 MB. Computing 2^36 of them takes about a minute at each
# projection.
STORED_UP_TO, COMPUTED_UP_TO = 1 << 25, 1 << 36
# of the compiled code, for a real coefficient, on cards from compute capability 8.0 to 9.0
INSTRUCTIONS = 58


class Auto:
    """Chooses the medium by the number of coefficients, and logs its choice.

    `Dense` up to 2^25 coefficients, `Procedural` up to 2^36, `Structured` beyond. On a card that computes coefficients
    faster than it reads them, `Procedural` begins where the stored matrix would no longer fit in the card's cache. Both
    hold the same matrix.

    `drifts`: whether the matrix will be a new sum of matrices at each tick, which costs least where they are stored.
    """

    drifts = False

    def prepare(self, n_in: int, n_out: int, seed: int, compute: torch.device) -> None:
        size = n_in * n_out
        choice = Dense if size <= STORED_UP_TO else Procedural if size <= COMPUTED_UP_TO else Structured
        if choice is Dense and not self.drifts and _is_computed_faster(size, compute):
            choice = Procedural
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


def _is_computed_faster(size: int, compute: torch.device) -> bool:
    """Estimate whether a card computes real coefficients faster than it reads them, from what it says of itself.

    It computes `units x 128 x clock / 58` of them in a second: four schedulers of a unit (a streaming multiprocessor)
    issue an instruction for 32 numbers each in every cycle, and a coefficient takes 58 instructions. It reads
    `2 x memory clock x bus width / 32`, of 32 bits each. A card reaches about nine tenths of either. An H200 computes
    5.8e11 and reads 1.2e12; an L40S computes 7.9e11 and reads 2.2e11.
    """
    if compute.type != "cuda" or not has_triton():
        return False
    card = torch.cuda.get_device_properties(compute)
    if not hasattr(card, "memory_clock_rate"):  # an older torch
        return False
    computed = card.multi_processor_count * 128 * card.clock_rate / INSTRUCTIONS
    read = 2 * card.memory_clock_rate * card.memory_bus_width / 32
    return 8 * size > card.L2_cache_size and computed > read
