"""Sizes, speed and power of the optical hardware that is modelled.

`dfa bench` and `dfa plan` read this file, so it must not import torch. docs/opu.md names the sources of the numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from dfa_cli.config.bounds import require
from dfa_cli.config.optics import EXPOSURE_SECONDS

MIRRORS = 1140 * 912  # on the micromirror device
PIXELS = 1920 * 1080  # on the camera
POWER_WATTS = 30.0
PIXELS_PER_MODE = 4  # of off-axis holography
STEPS = 4  # frames of a pattern by phase-shifting holography


@dataclass(frozen=True)
class FrameTime:
    """The time of a frame: the mirrors need `shortest`, the camera has to expose and to read its pixels.

        t = max(shortest, pause + max(exposure, row * ceil(pixels / row_pixels)))

    The camera exposes an image while it reads the one before, so the longer of the two counts.

    `shortest` [s]: of the mirrors and their control, whatever the camera does.
    `pause` [s]: between two images of the camera.
    `row` [s]: to read a row of the camera's pixels. `row_pixels`: pixels of a row.

    The formula, `shortest`, `pause` and `row_pixels` are those of LightOn's open library lightonml 1.4. `row` is
    that of a sensor with 340 images of 1,088 rows per second (CMOSIS CMV2000).
    """

    shortest: float = 500e-6
    pause: float = 50e-6
    row: float = 2.7e-6
    row_pixels: int = 2040

    def __post_init__(self) -> None:
        for field in fields(self):
            require(f"device.frame_time.{field.name}", getattr(self, field.name))

    def seconds(self, pixels: int, exposure: float = EXPOSURE_SECONDS) -> float:
        """Return the time of a frame in which the camera reads `pixels` pixels after an `exposure` [s]."""
        reading = self.row * math.ceil(pixels / self.row_pixels)
        return max(self.shortest, self.pause + max(exposure, reading))


def seconds_of_a_vector(n_out: int, patterns: int) -> float:
    """Return the time of `patterns` patterns on the default hardware, with `n_out` modes.

    They are read by off-axis holography, in one frame each. Where the camera has too few pixels for that,
    phase-shifting holography takes several frames of each pattern.
    """
    if n_out * PIXELS_PER_MODE <= PIXELS:
        return patterns * FrameTime().seconds(n_out * PIXELS_PER_MODE)
    return patterns * STEPS * FrameTime().seconds(n_out)
