"""Encodes an error as binary patterns, because a mirror is either on or off."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from dfa_cli.config.bounds import require, require_threshold


@dataclass(frozen=True)
class Frames:
    """An encoded error: binary patterns, their weights, and a scale for each row.

        e[r] ~ q[r] = scale[r] * sum_f weights[f] * patterns[f, r]

    `patterns` `[patterns, rows, n_in]`: float32, 1 for a mirror that is on and 0 for one that is off.
    `shown` `[patterns, rows]`: 1 for a pattern with any mirror on, else 0. A pattern without light gives no field,
    so it is not shown, and no frame of the camera is spent on it.
    `weights`: for each pattern a number, or a number for each row, `[rows, 1]`.
    `scale` `[rows, 1]`: sets the norm of each row. Where the encoding does not say otherwise, `|q| = |e|`.
    `excess` `[rows, 1]`: what the device subtracts from every component, `e ~ q - excess`; `None` for nothing.
    `phases` `[patterns, rows]`: of the reference beam in the exposure of each pattern, in radians; `None`: all zero.
    """

    patterns: Tensor
    shown: Tensor
    weights: tuple[float | Tensor, ...]
    scale: Tensor
    excess: Tensor | None = None
    phases: Tensor | None = None

    def rows(self, first: int, last: int) -> Frames:
        """Return the patterns of the rows `first` to `last - 1`."""
        return Frames(
            self.patterns[:, first:last],
            self.shown[:, first:last],
            tuple(w[first:last] if isinstance(w, Tensor) else w for w in self.weights),
            self.scale[first:last],
            None if self.excess is None else self.excess[first:last],
            None if self.phases is None else self.phases[:, first:last],
        )

    def without_sum(self, error: Tensor) -> Frames:
        """Let the device subtract the sum that the encoding has added to each row of `error`.

            c = (sum_j q_j - sum_j e_j) / n_in,   k = |e| / |q - c|
            scale <- k scale,   excess = k c,     |k (q - c)| = |e|

        For a dithered encoding `k` depends on the draw, and the mean of `k (q - c)` is smaller than `e`. A row without
        a lit mirror gets no excess: it stays a row of zeros.
        """
        shown = sum(pattern * weight for pattern, weight in zip(self.patterns, self.weights, strict=True))
        shown = self.scale * shown
        excess = (shown.sum(1, keepdim=True) - error.sum(1, keepdim=True)).div_(error.shape[1])
        excess.mul_(self.shown.amax(0).unsqueeze(1))
        norm = torch.linalg.vector_norm(shown - excess, dim=1, keepdim=True)
        restored = torch.linalg.vector_norm(error, dim=1, keepdim=True) / zeros_to_ones(norm)
        return replace(self, scale=self.scale * restored, excess=excess.mul_(restored))


class Encoding(Protocol):
    def encode(self, error: Tensor, draws: torch.Generator) -> Frames:
        """Encode `error` `[rows, n_in]`, float32. A row of zeros gives patterns of zeros.

        An encoding that is not deterministic takes its random numbers from `draws`.
        """
        ...


class Ternary:
    """Rounds every entry to -1, 0 or +1: one pattern shows the +1, another the -1.

        t_j = sign(e_j)  where |e_j| > cut,  else 0
        cut = threshold * max_j |e_j| of the row,  or  threshold  with `relative=False`

    The mirrors lose the norm of the row. `scale = |e| / |t|` restores it, so that
    `E |project(e)|^2 = n_out |e|^2` for every row, as on digital hardware. The least-squares scale
    `<e, t> / |t|^2` would shrink the feedback by the cosine between `e` and `t`, and a learning rate tuned with
    `device=cpu` would no longer fit.

    The default threshold, 0.4 of the largest entry, gives the errors of a softmax the largest cosine with
    their ternary form: 0.91 to 0.995, from uncertain to confident networks and from 3 to 100 classes.

    Raises `DfaError` for a threshold that is negative or that no entry could pass.
    """

    def __init__(self, threshold: float = 0.4, relative: bool = True):
        require_threshold(threshold, relative)
        self.threshold = threshold
        self.relative = relative

    def encode(self, error: Tensor, draws: torch.Generator) -> Frames:
        patterns = error.new_empty(2, *error.shape)
        if self.relative:
            cut = torch.linalg.vector_norm(error, float("inf"), 1, keepdim=True).mul_(self.threshold)
            torch.gt(error, cut, out=patterns[0])
            torch.lt(error, cut.neg_(), out=patterns[1])
        else:
            torch.gt(error, self.threshold, out=patterns[0])
            torch.lt(error, -self.threshold, out=patterns[1])
        lit = patterns.sum(2)  # number of mirrors that are on, [2, rows]
        squared_norm = (lit[0] + lit[1]).unsqueeze_(1)  # |t|^2, since every entry of t is -1, 0 or 1
        # A row with no mirror on gives zeros, whatever its scale. The 1 only avoids a division by zero.
        scale = torch.linalg.vector_norm(error, 2, 1, keepdim=True).mul_(
            squared_norm.clamp_(min=1.0).rsqrt_()
        )
        return Frames(patterns, shown=lit.clamp_(max=1.0), weights=(1.0, -1.0), scale=scale)


class Sign:
    """Keeps only the signs, `t_j = sign(e_j)`: one pattern for the positive entries, one for the negative."""

    def __init__(self) -> None:
        self._ternary = Ternary(threshold=0.0, relative=False)

    def encode(self, error: Tensor, draws: torch.Generator) -> Frames:
        return self._ternary.encode(error, draws)


class TwoScales:
    """Rounds like `Ternary`, but gives each sign a threshold and a scale of its own, so that the row's sum is kept.

        t_j = sign(e_j)  where |e_j| > threshold * max |e| over the components of the same sign,  else 0
        q   = k (a t+ - b t-),   t+ = [t_j = 1],  t- = [t_j = -1]
        a   = (sum of the positive e_j) / |t+|^2,   b = (sum of the negative |e_j|) / |t-|^2

    Before `k`, the positive components have the sum that they have in `e`, and so have the negative ones. `k` restores
    the norm, `|q| = |e|`, so `sum_j q_j = k sum_j e_j`. The error of a softmax has the sum zero, and keeps it.

    The largest component of each sign is always shown. So a row takes a pattern for each sign that it has.
    Bias `q - e`, the same in every step; variance 0.
    """

    def __init__(self, threshold: float = 0.3):
        require_threshold(threshold, fixed=True)
        self.threshold = threshold

    def encode(self, error: Tensor, draws: torch.Generator) -> Frames:
        parts = positive_and_negative(error)
        patterns = (parts > self.threshold * parts.amax(2, keepdim=True)).to(error.dtype)
        lit = patterns.sum(2)
        levels = parts.sum(2).div_(lit.clamp(min=1.0))  # a and b, [2, rows]
        norm = (levels.square() * lit).sum(0).sqrt_().unsqueeze_(1)
        scale = torch.linalg.vector_norm(error, dim=1, keepdim=True) / zeros_to_ones(norm)
        weights = (levels[0].unsqueeze(1), -levels[1].unsqueeze(1))
        return Frames(patterns, shown=lit.clamp_(max=1.0), weights=weights, scale=scale)


class Bitplanes:
    """Rounds entries to fixed-point numbers, and shows one pattern for each bit and each sign.

        q_j = round(|e_j| / max|e| * (2^bits - 1))

    A row takes `2 * bits` patterns, whose weights are powers of 2. `bits` is from 1 to 16, and other values raise
    `DfaError`.
    """

    def __init__(self, bits: int = 4):
        require("device.encoding.bits", bits)
        self.bits = bits

    def encode(self, error: Tensor, draws: torch.Generator) -> Frames:
        largest = error.abs().amax(1, keepdim=True)
        levels = (error.abs() * ((2**self.bits - 1) / zeros_to_ones(largest))).round_()
        integers = levels.to(torch.int32)
        planes = torch.stack([(integers >> bit) & 1 for bit in range(self.bits)]).to(error.dtype)
        patterns = torch.cat([planes * (error > 0), planes * (error < 0)])
        weights = [2.0**bit for bit in range(self.bits)]
        norm = torch.linalg.vector_norm(levels, dim=1, keepdim=True)
        scale = torch.linalg.vector_norm(error, dim=1, keepdim=True) / zeros_to_ones(norm)
        shown = patterns.amax(2)  # 1 for a pattern with any mirror on
        signed_weights = (*weights, *(-weight for weight in weights))
        return Frames(patterns, shown=shown, weights=signed_weights, scale=scale)


class Float:
    """Shows the error itself, divided by its largest entry, in one pattern.

    No hardware can do this: the mirrors would have to reflect any amount of either sign. Use it to see how the
    rest of the chain affects training when the encoding loses nothing.
    """

    def encode(self, error: Tensor, draws: torch.Generator) -> Frames:
        largest = error.abs().amax(1, keepdim=True)
        return Frames(
            patterns=(error / zeros_to_ones(largest))[None],
            shown=(largest > 0).to(error.dtype).view(1, -1),
            weights=(1.0,),
            scale=largest,
        )


def positive_and_negative(error: Tensor) -> Tensor:
    """Return the absolute values of the positive components and of the negative ones, `[2, rows, n_in]`."""
    return torch.stack([error, -error]).clamp_(min=0.0)


def zeros_to_ones(size: Tensor) -> Tensor:
    """Replace the zeros of `size` with 1, so that it can be divided by."""
    return torch.where(size > 0, size, torch.ones_like(size))
