"""A read-out that takes the field as it is, without a camera."""

from __future__ import annotations

import torch
from torch import Tensor

from dfa_cli.devices.opu.camera import Camera
from dfa_cli.devices.opu.encoding import Frames
from dfa_cli.devices.opu.readout.base import Reading, Readout, weighted_sum


class Ideal:
    """Returns the real part of the field, with no camera and no noise.

    Compare with it to see the effect of the camera. The modelled time of a frame is that with the exposure of the
    device's camera, which the noise does not change.
    """

    exposures = 1
    pixels_per_mode = 1
    imaginary = False

    @classmethod
    def in_place_of(cls, readout: Readout) -> Ideal:
        """Return one with the frames and the pixels of another read-out, for a device without its imperfections."""
        ideal = cls()
        ideal.exposures, ideal.pixels_per_mode = readout.exposures, readout.pixels_per_mode
        return ideal

    def calibrate(self, lit: float, camera: Camera) -> None:
        pass

    def read(self, field: Tensor, frames: Frames, noise: torch.Generator) -> Reading:
        values = weighted_sum(field[:, :, 0], frames.weights).mul_(frames.scale)
        return Reading(values, full=0, pixels=0)
