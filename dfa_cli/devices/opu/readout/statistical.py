"""Models the noise of a holographic read-out without simulating its pixels, which makes training fast."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dfa_cli.devices.opu.camera import COMPILED_FROM, Camera
from dfa_cli.devices.opu.encoding import Frames
from dfa_cli.devices.opu.readout.base import (
    INTENSITY_OF_A_MIRROR,
    Reading,
    Readout,
    add_weighted,
    weighted_sum,
)
from dfa_cli.devices.opu.readout.holography import PhaseShifting
from dfa_cli.devices.opu.readout.off_axis import OffAxis
from dfa_cli.devices.opu.workspace import Workspace
from dfa_cli.kernels.normal import normal_like

# Grey levels, r.m.s., by which the light of a pixel must vary so that rounding acts as independent noise. Deviations of
# model and pixels then agree within 5 per cent. Off-axis holography needs fewer, since it averages over pixels.
LEAST_SPREAD, LEAST_SPREAD_OFF_AXIS = 1.3, 0.6


def too_coarse(readout: Readout) -> tuple[float, int] | None:
    """Tell whether grey levels are too coarse to act as independent noise in a pattern with one component lit.

    Returns by how many levels the light varies there, and the bits at which that would be enough; `None` if it is, and
    for a read-out without fringes.
    """
    wrapped = readout.wrapped if isinstance(readout, Statistical) else readout
    if not isinstance(wrapped, OffAxis | PhaseShifting):
        return None
    fringes = wrapped.fringes
    camera, exposure = fringes.camera, fringes.exposure
    if camera.bits is None:
        return None
    fringe = 2 * fringes.visibility * fringes.amplitude * (INTENSITY_OF_A_MIRROR / 2) ** 0.5  # r.m.s.
    by_shot_noise = camera.variance(exposure)[1] * (fringes.amplitude**2 + INTENSITY_OF_A_MIRROR)
    light = exposure.gain * math.sqrt(fringe**2 + by_shot_noise)
    levels = math.hypot(light, camera.read_noise) / exposure.step
    coarse = (LEAST_SPREAD_OFF_AXIS if isinstance(wrapped, OffAxis) else LEAST_SPREAD) / levels
    return None if coarse <= 1 else (levels, camera.bits + math.ceil(math.log2(coarse)))


class Statistical:
    """Models the read-out `wrapped`: one Gaussian number for each mode replaces the noise of the pixels.

        mean     = gain Re E, computed from clipped intensities where they exceed the full well
        variance = noise (a + b (R^2 + own |E|^2 + (1 - own) S)) / R^2 + crosstalk S + leakage S^2 / R^2

    `a + b I` is the variance of a pixel of intensity `I` (`Camera.variance`), and `S` the mean of `|E|^2` over the
    modes. The other factors are the `Moments` of the read-out. The fringes drop out of the variance, since their phase
    is random. The frames of a row are independent, so their variances, multiplied by their squared weights, add up. One
    random number for each mode is then enough. The noise of neighbouring modes is independent here; on the pixels it is
    slightly correlated.

    The model holds where the grey levels act as independent noise. Where they are too coarse for that in a pattern with
    one component lit, `caution` says so. Full pixels are clipped as if the field were constant over them.
    """

    imaginary = True

    def __init__(self, wrapped: OffAxis | PhaseShifting | None = None):
        self.wrapped = wrapped or OffAxis()
        self.exposures = self.wrapped.exposures
        self.pixels_per_mode = self.wrapped.pixels_per_mode
        self.caution: str | None = None
        self._scratch = Workspace()

    def calibrate(self, lit: float, camera: Camera) -> None:
        self.wrapped.calibrate(lit, camera)
        fringes, moments = self.wrapped.fringes, self.wrapped.moments
        self.caution = self._caution(camera)
        reference = fringes.amplitude**2
        factor = moments.noise / reference
        fixed, by_intensity = camera.variance(fringes.exposure)
        # The variance of the class, sorted by powers: by_frame + by_signal |E|^2 + by_mean S + by_squared_mean S^2.
        # `read` adds it up over the frames.
        self._by_signal = by_intensity * factor * moments.own
        self._by_frame = (fixed + by_intensity * reference) * factor
        self._by_mean = by_intensity * factor * (1 - moments.own) + moments.crosstalk
        self._by_squared_mean = moments.leakage / reference

    def _caution(self, camera: Camera) -> str | None:
        found = too_coarse(self)
        if found is None:
            return None
        levels, bits = found
        five = "_5" if self.exposures == 5 else ""
        pixels = "off_axis" if isinstance(self.wrapped, OffAxis) else f"phase_shifting{five}"
        remedy = "exposure=auto" if camera.exposure != "auto" else f"bits={bits} or more"
        return (
            f"device/readout=statistical does not hold for a camera of {camera.bits} bits: the light of one lit "
            f"component varies by {levels:.2g} grey levels, too few to round like noise. Use "
            f"device/readout={pixels}, or device.camera.{remedy}."
        )

    def read(self, field: Tensor, frames: Frames, noise: torch.Generator) -> Reading:
        n_out = field.shape[3]
        pixels = n_out * len(self.wrapped.fringes.weights)
        z = None
        if self.wrapped.fringes.camera.compiled and field.shape[1] * n_out >= COMPILED_FROM:
            from dfa_cli.devices.opu.compiled import draw_keys, normal_rows, read_statistically

            keys = draw_keys(field.shape[1], noise)
            moments = (
                self.wrapped.moments.gain,
                self._by_frame,
                self._by_signal,
                self._by_mean,
                self._by_squared_mean,
            )
            values, below = read_statistically(field, frames, moments, self._brightest, keys)
            if below:
                return Reading(values, full=0, pixels=pixels)
            z = normal_rows(keys, n_out)
        values = weighted_sum(field[:, :, 0], frames.weights)
        energy = self._energy(field, frames.weights)
        full = self._clip(values, field, energy, frames)
        if self.wrapped.moments.gain != 1:
            values.mul_(self.wrapped.moments.gain)
        deviation = torch.add(
            self._variance_of_rows(field, energy, frames), energy, alpha=self._by_signal, out=energy
        ).sqrt_()
        z = normal_like(values, noise) if z is None else z
        values.addcmul_(deviation, z).mul_(frames.scale)
        return Reading(values, full=full, pixels=pixels)

    @property
    def _brightest(self) -> float:
        """The `|E|^2` from which a pixel may be full: none is brighter than (amplitude of the reference + |E|)^2."""
        fringes = self.wrapped.fringes
        return max(0.0, fringes.exposure.ceiling**0.5 - fringes.amplitude) ** 2

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
        first, *others = zip(frames.shown.unsqueeze(2), frames.weights, strict=True)
        variance = first[0] * (self._by_frame * first[1] ** 2)
        for shown, weight in others:
            variance += shown * (self._by_frame * weight**2)
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
        # On the CPU, where a maximum costs little, this bound mostly shows that no pixel is full, and mostly without
        # the intensity of each frame.
        on_cpu, brightest = energy.is_cpu, self._brightest
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
