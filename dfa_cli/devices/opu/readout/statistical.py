"""Models the noise of a holographic read-out without simulating its pixels, which makes training fast."""

from __future__ import annotations

import torch
from torch import Tensor

from dfa_cli.devices.opu.camera import Camera
from dfa_cli.devices.opu.encoding import Frames
from dfa_cli.devices.opu.readout.base import Reading, add_weighted, weighted_sum
from dfa_cli.devices.opu.readout.holography import PhaseShifting
from dfa_cli.devices.opu.readout.off_axis import OffAxis
from dfa_cli.devices.opu.workspace import Workspace

RELIABLE_BITS = 5  # from here on, the model agrees with the pixels in all light (studies/optics/agreement.py)


class Statistical:
    """Models the read-out `wrapped`: one Gaussian number for each mode replaces the noise of the pixels.

        mean     = gain Re E, computed from clipped intensities where they exceed the full well
        variance = noise (a + b (R^2 + own |E|^2 + (1 - own) S)) / R^2 + crosstalk S + leakage S^2 / R^2

    `a + b I` is the variance of a pixel of intensity `I` (`Camera.variance`), and `S` the mean of `|E|^2` over the
    modes. The other factors are the `Moments` of the read-out. The fringes drop out of the variance, since their phase
    is random. The frames of a row are independent, so their variances, multiplied by their squared weights, add up. One
    random number for each mode is then enough. The noise of neighbouring modes is independent here; on the pixels it is
    slightly correlated.

    The model holds where the grey levels act as independent noise, from 5 bits on. With fewer, `caution` says so. Full
    pixels are clipped as if the field were constant over them.
    """

    imaginary = True

    def __init__(self, wrapped: OffAxis | PhaseShifting | None = None):
        self.wrapped = wrapped or OffAxis()
        self.exposures = self.wrapped.exposures
        self.pixels_per_mode = self.wrapped.pixels_per_mode
        self.caution: str | None = None
        self._scratch = Workspace()

    def calibrate(self, lit: float, camera: Camera) -> None:
        self.caution = None
        if camera.bits is not None and camera.bits < RELIABLE_BITS:
            pixels = "off_axis" if isinstance(self.wrapped, OffAxis) else "phase_shifting"
            self.caution = (
                f"device/readout=statistical does not hold for a camera of {camera.bits} bits, where it can be twice "
                f"too optimistic: use device/readout={pixels}, or device.camera.bits={RELIABLE_BITS} or more."
            )
        self.wrapped.calibrate(lit, camera)
        fringes, moments = self.wrapped.fringes, self.wrapped.moments
        reference = fringes.amplitude**2
        factor = moments.noise / reference
        fixed, by_intensity = camera.variance(fringes.exposure)
        # The variance of the class, sorted by powers: by_frame + by_signal |E|^2 + by_mean S + by_squared_mean S^2
        self._by_signal = by_intensity * factor * moments.own
        self._by_frame = (fixed + by_intensity * reference) * factor
        self._by_mean = by_intensity * factor * (1 - moments.own) + moments.crosstalk
        self._by_squared_mean = moments.leakage / reference

    def read(self, field: Tensor, frames: Frames, noise: torch.Generator) -> Reading:
        count, rows, _, n_out = field.shape
        signal = self._scratch.tensor("signal", (count, rows, n_out), field.device)
        torch.mul(field[:, :, 0], field[:, :, 0], out=signal).addcmul_(field[:, :, 1], field[:, :, 1])
        values = weighted_sum(field[:, :, 0], frames.weights)
        full = self._clip(values, field, signal, frames)
        if self.wrapped.moments.gain != 1:
            values.mul_(self.wrapped.moments.gain)

        deviation = self._scratch.tensor("deviation", (rows, n_out), field.device)
        by_frame = self._by_frame * frames.shown.unsqueeze(2)
        if self._by_mean or self._by_squared_mean:
            mean = signal.mean(2, keepdim=True)
            by_frame.add_(mean, alpha=self._by_mean).addcmul_(mean, mean, value=self._by_squared_mean)
        for f, weight in enumerate(frames.weights):
            square = weight**2
            variance = (
                by_frame[f].mul_(square)
                if f == 0
                else add_weighted(deviation, by_frame[f], square, out=deviation)
            )
            add_weighted(variance, signal[f], self._by_signal * square, out=deviation)
        # `signal` is not needed any more, so its memory is reused.
        normal = signal[0].normal_(generator=noise)
        return Reading(
            values.addcmul_(deviation.sqrt_(), normal).mul_(frames.scale),
            full=full,
            pixels=n_out * len(self.wrapped.fringes.weights),
        )

    def _clip(self, values: Tensor, field: Tensor, signal: Tensor, frames: Frames) -> Tensor | int:
        """Subtract from `values` the light that full pixels cannot count.

        Returns the number of full readings: a pixel counts once for each frame and exposure in which it is full.
        """
        fringes = self.wrapped.fringes
        ceiling = fringes.exposure.ceiling
        # No pixel is brighter than the square of (amplitude of the reference + |field|). On the CPU, where the maximum
        # costs little, this bound mostly shows that no pixel is full.
        if ceiling == float("inf") or (
            signal.device.type == "cpu" and (fringes.amplitude + float(signal.max()) ** 0.5) ** 2 < ceiling
        ):
            return 0
        full: Tensor | int = 0
        shown = frames.shown.unsqueeze(2)
        for cosine, sine, weight in fringes.weights:
            light = fringes.intensity(field, signal, cosine, sine, self._scratch)
            excess = light.sub_(ceiling).clamp_(min=0.0).mul_(shown)
            full = full + (excess > 0).sum()
            for f, frame_weight in enumerate(frames.weights):
                add_weighted(values, excess[f], -weight * frame_weight, out=values)
        return full
