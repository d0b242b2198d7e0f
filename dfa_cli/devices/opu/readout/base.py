"""Read-out: intensities are all a camera sees; holography finds the field behind them."""

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
    """`values` `[rows, n_out]`: `sum_f weights[f] * (what is read of frame f)`, times the row's scale.

    `full` counts the saturated pixels of the frames shown, a 0-dimensional tensor unless it is known to be 0;
    `pixels` were looked at in each of these frames.
    """

    values: Tensor
    full: Tensor | int
    pixels: int


class Readout(Protocol):
    """`exposures`: images taken of each frame; `pixels_per_mode`: camera pixels that a mode lies on."""

    exposures: int
    pixels_per_mode: int
    imaginary: bool  # whether it needs the imaginary part of the field

    def calibrate(self, lit: float, camera: Camera) -> None:
        """Set reference and exposure for a frame with `lit` mirrors on (the calibration frame)."""
        ...

    def read(self, field: Tensor, frames: Frames, noise: torch.Generator) -> Reading:
        """`field` `[frames, rows, parts, n_out]` of what the frames show; it may be overwritten."""
        ...


def count_shown(full: Tensor | int, frames: Frames) -> Tensor | int:
    """Of counts `[frames, rows]` the sum over the frames that are shown: the camera looks at no others."""
    return torch.where(frames.shown > 0, full, 0).sum() if isinstance(full, Tensor) else full


def weighted_sum(values: Tensor, weights: tuple[float, ...]) -> Tensor:
    """`sum_f weights[f] values[f]`, a new tensor."""
    if weights == (1.0, -1.0):
        return values[0] - values[1]
    total = values[0] * weights[0]
    for value, weight in zip(values[1:], weights[1:], strict=True):
        total.add_(value, alpha=weight)
    return total
