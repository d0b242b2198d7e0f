"""Holographic read-outs: they recover the field from its interference with a reference beam."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dfa_cli.config.bounds import require
from dfa_cli.devices.opu.camera import Camera, Exposure
from dfa_cli.devices.opu.encoding import Frames
from dfa_cli.devices.opu.readout.base import INTENSITY_OF_A_MIRROR, Reading, count_shown, weighted_sum
from dfa_cli.devices.opu.workspace import Workspace


class OffAxis:
    """Off-axis holography: a tilted reference beam draws fringes across the pixels of a mode.

    One image of a frame is enough to recover the field `E`.

        I_p = |E|^2 + R^2 + 2 V R Re(E exp(-i phi_p)),   phi_p = 2 pi p / P,  p = 0 .. P - 1
        E   = 1 / (P V R) sum_p I_p exp(i phi_p)

    `pixels_per_mode` (P): number of camera pixels of a mode, which hold one fringe. At least 4: with fewer, the
    shot noise of `|E|^2` cannot be separated.
    `reference`: intensity of the reference beam, divided by the mean of `|E|^2` in the calibration frame. With `lit`
    mirrors on in that frame, `R^2 = reference * 2 lit`.
    `visibility`: contrast of the fringes in the light that reaches the camera. A pixel integrates over its own width,
    which reduces the contrast to `V = visibility * sinc(1 / P)`.
    `headroom`: how many r.m.s. amplitudes of the calibration field the camera takes without saturating, when its
    exposure is `auto`.

    The model assumes that the field is constant over the pixels of a mode, and that modes do not overlap.

    Cuche, Marquet and Depeursinge 2000, Appl. Opt. 39, 4070.
    """

    imaginary = True
    exposures = 1

    def __init__(
        self, pixels_per_mode: int = 4, reference: float = 4.0, visibility: float = 1.0, headroom: float = 3.0
    ):
        require_fringes(
            pixels_per_mode=pixels_per_mode, reference=reference, visibility=visibility, headroom=headroom
        )
        self.pixels_per_mode = pixels_per_mode
        # A pixel averages the fringe over its width. `half_pixel` is half of the phase that it goes through there.
        half_pixel = math.pi / pixels_per_mode
        contrast = visibility * math.sin(half_pixel) / half_pixel  # `V` of the class
        self.fringes = Holography(pixels_per_mode, reference, contrast, headroom)

    def calibrate(self, lit: float, camera: Camera) -> None:
        self.fringes.calibrate(lit, camera)

    def read(self, field: Tensor, frames: Frames, noise: torch.Generator) -> Reading:
        return self.fringes.read(field, frames, noise)


class PhaseShifting:
    """Phase-shifting holography: `steps` images of each frame, while the phase of the reference makes one turn.

    The equations are those of `OffAxis`, with steps in place of pixels. This read-out takes one pixel a mode
    and `steps` times the frames, and loses no contrast on the pixels. Use it where the camera has too few pixels for
    `OffAxis`. The model assumes that the medium and the light do not change between the steps.

    `steps`: at least 4. `reference`, `visibility`, `headroom`: as for `OffAxis`.

    Yamaguchi and Zhang 1997, Opt. Lett. 22, 1268.
    """

    imaginary = True
    pixels_per_mode = 1

    def __init__(
        self, steps: int = 4, reference: float = 4.0, visibility: float = 1.0, headroom: float = 3.0
    ):
        require_fringes(steps=steps, reference=reference, visibility=visibility, headroom=headroom)
        self.exposures = steps
        self.fringes = Holography(steps, reference, visibility, headroom)

    def calibrate(self, lit: float, camera: Camera) -> None:
        self.fringes.calibrate(lit, camera)

    def read(self, field: Tensor, frames: Frames, noise: torch.Generator) -> Reading:
        return self.fringes.read(field, frames, noise)


class Holography:
    """Computes what `OffAxis` and `PhaseShifting` share.

    Both take `samples` intensities along a fringe: `OffAxis` in space, `PhaseShifting` in time.
    """

    def __init__(self, samples: int, reference: float, visibility: float, headroom: float):
        self.samples = samples
        self.reference = reference
        self.visibility = visibility
        self.headroom = headroom
        self._scratch = Workspace()

    def calibrate(self, lit: float, camera: Camera) -> None:
        signal = INTENSITY_OF_A_MIRROR * lit  # mean of |E|^2 in the calibration frame
        self.camera = camera
        self.amplitude = math.sqrt(self.reference * signal)  # R
        peak = (self.amplitude + self.headroom * math.sqrt(signal)) ** 2
        self.exposure: Exposure = camera.expose(self.amplitude**2 + signal, peak)
        # Each tuple is (cos phi_p, sin phi_p, cos phi_p / (P V R)) of one sample. A sample with a cosine of zero adds
        # nothing to the real part, so it is left out. With P = 4, two samples remain.
        angles = [cosine_and_sine(p, self.samples) for p in range(self.samples)]
        factor = 1 / (self.samples * self.visibility * self.amplitude)  # 1 / (P V R)
        self.weights = [(cosine, sine, cosine * factor) for cosine, sine in angles if cosine]

    def read(self, field: Tensor, frames: Frames, noise: torch.Generator) -> Reading:
        count, rows, _, n_out = field.shape
        signal = self._scratch.tensor("signal", (count, rows, n_out), field.device)
        torch.mul(field[:, :, 0], field[:, :, 0], out=signal).addcmul_(field[:, :, 1], field[:, :, 1])
        # A frame with no mirror on is not shown. Its field is known to be zero, so it must get no noise.
        shown = frames.shown.unsqueeze(2)
        real = self._scratch.tensor("real", tuple(signal.shape), field.device).zero_()
        full: Tensor | int = 0
        for cosine, sine, weight in self.weights:
            light = self.intensity(field, signal, cosine, sine, self._scratch).mul_(shown)
            measured, saturated = self.camera.measure(light, self.exposure, noise)
            real.add_(measured, alpha=weight)
            full = full + saturated
        real.mul_(shown)
        values = weighted_sum(real, frames.weights).mul_(frames.scale)
        return Reading(values, full=count_shown(full, frames), pixels=n_out * len(self.weights))

    def intensity(
        self, field: Tensor, signal: Tensor, cosine: float, sine: float, scratch: Workspace
    ) -> Tensor:
        """Compute the intensity `I_p` `[frames, rows, n_out]` of one sample. `signal` is `|E|^2`."""
        fringe = 2 * self.visibility * self.amplitude
        light = scratch.tensor("intensity", tuple(signal.shape), signal.device)
        torch.add(signal, field[:, :, 0], alpha=fringe * cosine, out=light)
        if sine:
            light.add_(field[:, :, 1], alpha=fringe * sine)
        return light.add_(self.amplitude**2)


def cosine_and_sine(p: int, samples: int) -> tuple[float, float]:
    """Return the cosine and sine of `p / samples` of a turn, with exact zeros."""
    angle = 2 * math.pi * p / samples
    cosine, sine = math.cos(angle), math.sin(angle)
    return (0.0 if abs(cosine) < 1e-12 else cosine), (0.0 if abs(sine) < 1e-12 else sine)


def require_fringes(**values: float) -> None:
    """Raise `DfaError` for a value outside the bounds of its key `device.readout.NAME`."""
    for name, value in values.items():
        require(f"device.readout.{name}", value)
