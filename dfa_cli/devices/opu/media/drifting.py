"""A medium that changes with time, made of media that do not."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from dfa_cli.devices.opu.media.auto import Auto
from dfa_cli.devices.opu.media.base import Medium, PreparedMedium, Spans
from dfa_cli.devices.opu.media.dense import Dense
from dfa_cli.seeding import stream_seed

FORGOTTEN = 32.0  # logarithm of a correlation that counts as none: e^-32 is 1e-14
SMALLEST = 2.0**-24  # of a weight; less is below the rounding of single precision


def weights(tick: int, rate: float) -> dict[int, float]:
    """Return the weights of independent media with unit variance whose sum is the drifting medium at `tick`.

    The sum over ticks `n` is an Ornstein-Uhlenbeck process, whatever ticks are asked for and in which order:

        T(t) = sum_n w_n(t) G(n),    sum_n w_n(t) w_n(s) = exp(-rate |t - s|)

    It is built like a Brownian motion by Levy's midpoints. `T` at the ends of a block of ticks are media of their own:
    the block is so long that their correlation is below 1e-14. From both ends of an interval follow the mean and the
    variance at its middle, which gets a medium of its own. For ends that lie `2 d` apart in units of `1 / rate`,

        T(middle) = (T(first) + T(last)) / (2 cosh d) + sqrt(tanh d) G(middle)

    The intervals are halved until they end at `tick`. So about `log2(1 / rate) + 5` media are needed, of which one is
    new at each tick.
    """
    block = 1 << max(0, math.ceil(math.log2(FORGOTTEN / rate)))
    first = tick - tick % block
    last = first + block
    at_first, at_last = {first: 1.0}, {last: 1.0}
    while first < tick:
        middle, distance = (first + last) // 2, rate * (last - first) / 2
        at_middle = {
            n: (at_first.get(n, 0.0) + at_last.get(n, 0.0)) / (2 * math.cosh(distance))
            for n in {**at_first, **at_last}
        }
        at_middle[middle] = math.sqrt(math.tanh(distance))
        if tick < middle:
            last, at_last = middle, at_middle
        else:
            first, at_first = middle, at_middle
    return {n: weight for n, weight in at_first.items() if abs(weight) > SMALLEST}


class Drifting:
    """A medium whose matrix is an Ornstein-Uhlenbeck process with unit variance. It wraps any medium.

    The correlation of an entry at the ticks `t` and `s` is `exp(-rate |t - s|)`. The matrix at tick 0 is that of the
    wrapped medium. The matrix at a tick depends on nothing but the seed and the tick: no state has to be saved, and
    a part of the modes, or another medium with the same matrices, drifts in the same way.

    The matrix is a weighted sum of media with other seeds (`weights`). Stored matrices are added up once per tick, and
    all of them are held. Of other media the fields are added, so a projection costs as much as that many media.
    """

    def __init__(self, medium: Medium, rate: float):
        self.medium = medium
        if isinstance(medium, Auto):
            medium.drifts = True
        self.rate = rate

    def prepare(self, n_in: int, n_out: int, seed: int, compute: torch.device) -> None:
        self.medium.prepare(n_in, n_out, seed, compute)
        self._prepared = n_in, n_out, seed, compute
        first = self.medium.chosen if isinstance(self.medium, Auto) else self.medium
        self.separable = first.separable
        self._tick, self._first = 0, first
        self._sum: PreparedMedium = first
        self._media: dict[int, Medium] = {0: first}

    def move_to(self, tick: int) -> None:
        """Let the matrix be that of `tick`."""
        if tick == self._tick:
            return
        self._tick = tick
        needed = weights(tick, self.rate)
        self._media = {n: self._media.get(n) or self._medium_of(n) for n in needed}
        stored = [medium for medium in self._media.values() if isinstance(medium, Dense)]
        self._sum = (
            Dense.sum_of(list(needed.values()), stored)
            if len(stored) == len(needed)
            else Sum(list(needed.values()), list(self._media.values()))
        )

    def _medium_of(self, tick: int) -> Medium:
        if tick == 0:
            return self._first
        n_in, n_out, seed, compute = self._prepared
        medium = copy.copy(self._first)
        medium.prepare(n_in, n_out, stream_seed(seed, f"drift {tick}"), compute)
        return medium

    @property
    def correlation(self) -> float:
        """The correlation of an entry with the same entry at tick 0."""
        return math.exp(-self.rate * self._tick)

    def fields(self, patterns: Tensor, imaginary: bool) -> Tensor:
        return self._sum.fields(patterns, imaginary)

    def fields_at(self, patterns: Tensor, imaginary: bool, spans: Spans) -> Iterator[Tensor]:
        return self._sum.fields_at(patterns, imaginary, spans)

    def entries(self, rows: Tensor, columns: Tensor) -> Tensor:
        return self._sum.entries(rows, columns)

    def feedback_matrix(self) -> Tensor:
        return self._sum.feedback_matrix()


class Sum:
    """A medium whose matrix is the weighted sum of the matrices of other media, which are prepared already."""

    def __init__(self, weights: Sequence[float], media: Sequence[PreparedMedium]):
        self._parts = list(zip(weights, media, strict=True))
        self.separable = all(medium.separable for medium in media)

    def fields(self, patterns: Tensor, imaginary: bool) -> Tensor:
        return _total([medium.fields(patterns * weight, imaginary) for weight, medium in self._parts])

    def fields_at(self, patterns: Tensor, imaginary: bool, spans: Spans) -> Iterator[Tensor]:
        fields = [medium.fields_at(patterns * weight, imaginary, spans) for weight, medium in self._parts]
        return map(_total, zip(*fields, strict=True))

    def entries(self, rows: Tensor, columns: Tensor) -> Tensor:
        return _total([medium.entries(rows, columns) * weight for weight, medium in self._parts])

    def feedback_matrix(self) -> Tensor:
        return _total([medium.feedback_matrix() * weight for weight, medium in self._parts])


def _total(parts: Sequence[Tensor]) -> Tensor:
    """Return the sum, in the memory of the first part."""
    for part in parts[1:]:
        parts[0].add_(part)
    return parts[0]
