"""Encoding: numbers to what the mirrors show, which is binary: a mirror is on or off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dfa_cli.config.bounds import require, require_threshold


@dataclass(frozen=True)
class Frames:
    """`e[r] ~ scale[r] * sum_f weights[f] * patterns[f, r]`.

    `patterns` `[frames, rows, n_in]` is 0 or 1 (a mirror off or on), float32; `shown` `[frames, rows]` is 1
    for a pattern with any mirror on and 0 for the others, which need no frame: no light is no field. `scale`
    `[rows, 1]` keeps the norm of each row: `|scale * sum_f weights[f] patterns[f]| = |e|`.
    """

    patterns: Tensor
    shown: Tensor
    weights: tuple[float, ...]
    scale: Tensor


class Encoding(Protocol):
    def encode(self, error: Tensor) -> Frames:
        """`error` `[rows, n_in]`, float32; a row of zeros gives patterns of zeros."""
        ...


class Ternary:
    """`t_j = sign(e_j) [ |e_j| > cut ]`: one frame shows the +1, one the -1.

    `cut = threshold * max_j |e_j|` of the same row, or `threshold` itself when `relative` is off.

    What is lost is the magnitude; `scale = |e| / |t|` restores it, so that `E |project(e)|^2 = n_out |e|^2`
    for every row, as on digital hardware. The least-squares scale `<e, t> / |t|^2` would shrink the feedback
    by the cosine between `e` and `t`, and a learning rate tuned on `cpu` would no longer hold.

    The default threshold, 0.4 of the largest entry, gives the errors of a softmax the largest cosine with
    their ternary form, 0.91 to 0.995 from uncertain to confident networks and from 3 to 100 classes.

    Raises `DfaError` for a threshold that is negative or that no entry could pass.
    """

    def __init__(self, threshold: float = 0.4, relative: bool = True):
        require_threshold(threshold, relative)
        self.threshold = threshold
        self.relative = relative

    def encode(self, error: Tensor) -> Frames:
        patterns = error.new_empty(2, *error.shape)
        if self.relative:
            cut = torch.linalg.vector_norm(error, float("inf"), 1, keepdim=True).mul_(self.threshold)
            torch.gt(error, cut, out=patterns[0])
            torch.lt(error, cut.neg_(), out=patterns[1])
        else:
            torch.gt(error, self.threshold, out=patterns[0])
            torch.lt(error, -self.threshold, out=patterns[1])
        lit = patterns.sum(2)
        squares = (lit[0] + lit[1]).unsqueeze_(1)
        # A row in which nothing is lit gives nothing, whatever its scale: 1 keeps the division in bounds.
        scale = torch.linalg.vector_norm(error, 2, 1, keepdim=True).mul_(squares.clamp_(min=1.0).rsqrt_())
        return Frames(patterns, lit.clamp_(max=1.0), (1.0, -1.0), scale)


class Sign:
    """`t_j = sign(e_j)`: one frame for the positive entries, one for the negative."""

    def __init__(self) -> None:
        self._ternary = Ternary(threshold=0.0, relative=False)

    def encode(self, error: Tensor) -> Frames:
        return self._ternary.encode(error)


class Bitplanes:
    """Fixed point, `q_j = round(|e_j| / max|e| * (2^bits - 1))`: a frame for each bit of each sign.

    `2 * bits` frames a row, with powers of 2 for weights; `bits` from 1 to 16. Raises `DfaError` beyond.
    """

    def __init__(self, bits: int = 4):
        require("device.encoding.bits", bits)
        self.bits = bits

    def encode(self, error: Tensor) -> Frames:
        largest = error.abs().amax(1, keepdim=True)
        levels = (error.abs() * ((2**self.bits - 1) / _nonzero(largest))).round_()
        whole = levels.to(torch.int32)
        planes = torch.stack([(whole >> bit) & 1 for bit in range(self.bits)]).to(error.dtype)
        patterns = torch.cat([planes * (error > 0), planes * (error < 0)])
        weights = [2.0**bit for bit in range(self.bits)]
        norm = torch.linalg.vector_norm(levels, dim=1, keepdim=True)
        scale = torch.linalg.vector_norm(error, dim=1, keepdim=True) / _nonzero(norm)
        return Frames(patterns, patterns.amax(2), (*weights, *(-weight for weight in weights)), scale)


class Float:
    """`e` itself, divided by its largest entry: one frame of mirrors that reflect any amount of either sign.

    No hardware has it; it separates what the encoding does to a training from what the rest of the chain
    does.
    """

    def encode(self, error: Tensor) -> Frames:
        largest = error.abs().amax(1, keepdim=True)
        return Frames(
            (error / _nonzero(largest))[None], (largest > 0).to(error.dtype).view(1, -1), (1.0,), largest
        )


def _nonzero(size: Tensor) -> Tensor:
    """`size` with 1 in place of zeros, to divide zeros by."""
    return torch.where(size > 0, size, torch.ones_like(size))
