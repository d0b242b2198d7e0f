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
from dfa_cli.kernels.normal import normal_like

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
            five = "_5" if self.exposures == 5 else ""
            pixels = "off_axis" if isinstance(self.wrapped, OffAxis) else f"phase_shifting{five}"
            self.caution = (
                f"device/readout=statistical does not hold for a camera of {camera.bits} bits, where it can be twice "
                f"too optimistic: use device/readout={pixels}, or device.camera.bits={RELIABLE_BITS} or more."
            )
        self.wrapped.calibrate(lit, camera)
        fringes, moments = self.wrapped.fringes, self.wrapped.moments
        reference = fringes.amplitude**2
        factor = moments.noise / reference
        fixed, by_intensity = camera.variance(fringes.exposure)
        # The variance of the class, sorted by powers: by_frame + by_signal |E|^2 + by_mean S + by_squared_mean S^2.
        # `read` adds it up over the frames.
        self._by_signal = by_intensity * factor * moments.own
        self._by_frame = (fixed + by_intensity * reference) * factor
        self._by_mean = by_intensity * factor * (1 - moments.own) + moments.crosstalk
        self._by_squared_mean = moments.leakage / reference

    def read(self, field: Tensor, frames: Frames, noise: torch.Generator) -> Reading:
        n_out = field.shape[3]
        values = weighted_sum(field[:, :, 0], frames.weights)
        energy = self._energy(field, frames.weights)
        full = self._clip(values, field, energy, frames)
        if self.wrapped.moments.gain != 1:
            values.mul_(self.wrapped.moments.gain)
        deviation = torch.add(
            self._variance_of_rows(field, energy, frames), energy, alpha=self._by_signal, out=energy
        ).sqrt_()
        values.addcmul_(deviation, normal_like(values, noise)).mul_(frames.scale)
        return Reading(values, full=full, pixels=n_out * len(self.wrapped.fringes.weights))

    def _energy(self, field: Tensor, weights: tuple[float | Tensor, ...]) -> Tensor:
        """Return `sum_f w_f^2 |E_f|^2` `[rows, n_out]`, which the next call overwrites."""
        energy = self._scratch.tensor("energy", (field.shape[1], field.shape[3]), field.device)
        total = field.new_zeros(())
        for parts, weight in zip(field, weights, strict=True):
            for part in parts.unbind(1):
                weighted, square = (part * weight, 1.0) if isinstance(weight, Tensor) else (part, weight**2)
                total = torch.addcmul(total, weighted, weighted, value=square, out=energy)
        return energy

    def _variance_of_rows(self, field: Tensor, energy: Tensor, frames: Frames) -> Tensor:
        """Return the part of the variance that the modes of a row share, `[rows, 1]`."""
        variance = energy.new_zeros(len(energy), 1)
        for shown, weight in zip(frames.shown.unsqueeze(2), frames.weights, strict=True):
            add_weighted(variance, shown, self._by_frame * weight**2, out=variance)
        if self._by_mean:
            variance.add_(energy.mean(1, keepdim=True), alpha=self._by_mean)
        if self._by_squared_mean:
            for parts, weight in zip(field, frames.weights, strict=True):
                mean = parts.square().sum(1).mean(1, keepdim=True)
                add_weighted(variance, mean.square_(), self._by_squared_mean * weight**2, out=variance)
        return variance

    def _clip(self, values: Tensor, field: Tensor, energy: Tensor, frames: Frames) -> Tensor | int:
        """Subtract from `values` the light that full pixels cannot count.

        Returns the number of full readings: a pixel counts once for each frame and exposure in which it is full.
        """
        fringes = self.wrapped.fringes
        ceiling = fringes.exposure.ceiling
        if ceiling == float("inf"):
            return 0
        # No pixel is brighter than the square of (amplitude of the reference + |field|). On the CPU, where a maximum
        # costs little, this bound mostly shows that no pixel is full, and mostly without the intensity of each frame.
        on_cpu = energy.device.type == "cpu"
        brightest = (max(0.0, ceiling**0.5 - fringes.amplitude)) ** 2
        squares = [weight**2 for weight in frames.weights if not isinstance(weight, Tensor)]
        if on_cpu and len(squares) == len(field) and float(energy.max()) < min(squares) * brightest:
            return 0
        signal = self._scratch.tensor("signal", (*field.shape[:2], field.shape[3]), field.device)
        torch.mul(field[:, :, 0], field[:, :, 0], out=signal).addcmul_(field[:, :, 1], field[:, :, 1])
        if on_cpu and float(signal.max()) < brightest:
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
