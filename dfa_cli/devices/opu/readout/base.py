"""The interface of a read-out, which recovers the field from the intensities that the camera measures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dfa_cli.devices.opu.camera import Camera
from dfa_cli.devices.opu.encoding import Frames

INTENSITY_OF_A_MIRROR = 2.0  # E |T_ij|^2


@dataclass(frozen=True)
class Reading:
    """What a read-out returns for a batch of rows.

    `values` `[rows, n_out]`: `scale * sum_f weights[f] * (value read from pattern f)` for each row.
    `full`: number of saturated pixels in all patterns shown; a 0-dimensional tensor, or 0 when none can be saturated.
    `pixels`: number of pixels that were read in each of these frames.
    """

    values: Tensor
    full: Tensor | int
    pixels: int


class Readout(Protocol):
    """A read-out: it takes images of each pattern, and turns them into a value for each mode.

    `exposures`: number of images (frames of the camera) for each pattern.
    `pixels_per_mode`: number of camera pixels for each mode.
    `imaginary`: whether it needs the imaginary part of the field.
    An optional `linear = False` says that its values are not linear in the error. An optional `caution` says why they
    are not to be trusted; a run records it as a warning.
    """

    exposures: int
    pixels_per_mode: int
    imaginary: bool

    def calibrate(self, lit: float, camera: Camera) -> None:
        """Set the reference beam and the exposure for the calibration pattern, which has `lit` mirrors on."""
        ...

    def read(self, field: Tensor, frames: Frames, noise: torch.Generator) -> Reading:
        """Read the field `[patterns, rows, parts, n_out]` that the patterns give. It may overwrite `field`."""
        ...


def count_shown(full: Tensor | int, frames: Frames) -> Tensor | int:
    """Sum the counts `full` `[patterns, rows]` over the patterns that are shown. The others have no image."""
    return torch.where(frames.shown > 0, full, 0).sum() if isinstance(full, Tensor) else full


def weighted_sum(values: Tensor, weights: tuple[float | Tensor, ...]) -> Tensor:
    """Return `sum_f weights[f] values[f]` as a new tensor."""
    if all(isinstance(weight, float) for weight in weights) and weights == (1.0, -1.0):  # a ternary encoding
        return values[0] - values[1]
    total = values[0] * weights[0]
    for value, weight in zip(values[1:], weights[1:], strict=True):
        add_weighted(total, value, weight, out=total)
    return total


def add_weighted(total: Tensor, value: Tensor, weight: float | Tensor, out: Tensor) -> Tensor:
    """Write `total + weight * value` to `out`. `weight` is a number, or a number for each row."""
    if isinstance(weight, Tensor):
        return torch.addcmul(total, value, weight, out=out)
    return torch.add(total, value, alpha=weight, out=out)
