"""Phase-shifting holography, and what it shares with off-axis holography."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dfa_cli.config.bounds import require
from dfa_cli.devices.opu.camera import Camera, Exposure
from dfa_cli.devices.opu.encoding import Frames
from dfa_cli.devices.opu.readout.base import INTENSITY_OF_A_MIRROR, Reading, count_shown, weighted_sum
from dfa_cli.devices.opu.workspace import Workspace


@dataclass(frozen=True)
class Moments:
    """Mean and variance of the value read at a mode with the field `E`, over the noise and the other modes.

        mean     = gain Re E
        variance = noise (a + b (R^2 + own |E|^2 + (1 - own) S)) / R^2 + crosstalk S + leakage S^2 / R^2

    `S` is the mean of `|E|^2` over the modes, and a pixel of intensity `I` has the variance `a + b I`
    (`Camera.variance`). `noise`: sum of the squared weights of the pixels, times `R^2`. `own`: the mode's own part in
    the `|E|^2` on these pixels. `crosstalk`: from the fields of other modes. `leakage`: from `|E|^2`, where its
    spectrum overlaps with that of the fringes.
    """

    noise: float
    gain: float = 1.0
    own: float = 1.0
    crosstalk: float = 0.0
    leakage: float = 0.0


class PhaseShifting:
    """Phase-shifting holography: `steps` images of each pattern, while the phase of the reference makes one turn.

        I_p = |E|^2 + R^2 + 2 V R Re(E exp(-i phi_p)),   phi_p = 2 pi p / P,  p = 0 .. P - 1
        E   = 1 / (P V R) sum_p I_p exp(i phi_p)

    with `P = steps` and `V = visibility`. This read-out takes one pixel per mode and `steps` times the frames. It loses
    no contrast on the pixels. Use it where the camera has too few pixels for `OffAxis`. The model assumes that the
    medium and the light do not change between the steps, and that the field is constant over a pixel: a speckle grain
    must cover a pixel at least.

    `steps`: at least 3. `reference`, `visibility`, `headroom`: as for `OffAxis`.

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
        self.moments = self.fringes.moments

    def calibrate(self, lit: float, camera: Camera) -> None:
        self.fringes.calibrate(lit, camera)

    def read(self, field: Tensor, frames: Frames, noise: torch.Generator) -> Reading:
        return self.fringes.read(field, frames, noise)


class Holography:
    """Reads `samples` intensities along a fringe, at each of which the field is the same.

    `PhaseShifting` takes them in time. `OffAxis` takes them in space, where it ignores that the field varies.
    """

    def __init__(self, samples: int, reference: float, visibility: float, headroom: float):
        self.samples = samples
        self.reference = reference
        self.visibility = visibility
        self.headroom = headroom
        self.moments = Moments(1 / (2 * samples * visibility**2))
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
        real = self._scratch.tensor("real", tuple(signal.shape), field.device).zero_()
        full: Tensor | int = 0
        for cosine, sine, weight in self.weights:
            light = self.intensity(field, signal, cosine, sine, self._scratch)
            measured, saturated = self.camera.measure(light, self.exposure, noise)
            real.add_(measured, alpha=weight)
            full = full + saturated
        # A pattern with no mirror on is not shown. It must get no noise, so its image counts for nothing. The light of
        # this image is that of the reference beam. Without it, all its pixels would be dim, which are slow to draw.
        real.mul_(frames.shown.unsqueeze(2))
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
