"""Computes the signal-to-noise ratio of a holographic read-out by formula, and the variance of each source of noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from dfa_cli.devices.opu.camera import Exposure
from dfa_cli.devices.opu.readout.base import INTENSITY_OF_A_MIRROR, Readout
from dfa_cli.devices.opu.readout.holography import Holography, PhaseShifting
from dfa_cli.devices.opu.readout.intensity import Intensity
from dfa_cli.devices.opu.readout.off_axis import OffAxis
from dfa_cli.devices.opu.readout.statistical import Statistical
from dfa_cli.devices.opu.workspace import Workspace
from dfa_cli.errors import DfaError

# Of the integrals over the intensity and over the phase of the speckle. Their product is too small for torch to divide
# it among threads, so the sum is the same for any number of them.
POINTS = 180
# Where the first integral ends, in mean intensities. A fraction exp(-20) of the modes is brighter.
BRIGHTEST = 20.0


@dataclass(frozen=True)
class Budget:
    """What the value read at a mode holds, in units of the projection squared: the variance of each part.

    `signal`: of `Re E`. `shot`: shot noise. `read`: read noise. `grey_levels`: rounding to grey levels.
    `crosstalk`: what demodulation lets through of other modes and of `|E|^2`, and what it loses of `Re E`.
    `saturation`: what full pixels lose.
    """

    signal: float
    shot: float
    read: float
    grey_levels: float
    crosstalk: float
    saturation: float

    @property
    def noise(self) -> float:
        return self.shot + self.read + self.grey_levels + self.crosstalk + self.saturation

    @property
    def snr_db(self) -> float:
        """The signal-to-noise ratio in decibels; infinite without noise."""
        return 10 * math.log10(self.signal / self.noise) if self.noise else math.inf


def noise_budget(readout: OffAxis | PhaseShifting | Statistical, lit: float) -> Budget:
    """Compute the budget of a calibrated read-out for a pattern with `lit` components lit.

    With `S = 2 lit`, the mean of `|E|^2`, and the moments of the read-out (`Moments`):

        signal      = S / 2
        shot        = noise b (R^2 + S) / R^2
        read        = noise (read_noise / gain)^2 / R^2
        grey_levels = noise (step / gain)^2 / 12 / R^2
        crosstalk   = (1 - gain_of_moments)^2 S / 2 + crosstalk S + leakage S^2 / R^2
        saturation  = mean of (sum_p cos(phi_p) max(0, I_p - ceiling) / (P V R))^2

    The last one is an integral over the exponential law of the speckle's intensity and its uniform phase. It takes the
    field to be constant over the pixels that are full. Rounding counts as independent noise (docs/opu.md says where
    that holds). Raises `DfaError` for a read-out that is not calibrated.
    """
    wrapped = readout.wrapped if isinstance(readout, Statistical) else readout
    fringes, moments = wrapped.fringes, wrapped.moments
    if not hasattr(fringes, "exposure"):
        raise DfaError(
            "The read-out is not calibrated, so its noise is not known. Call device.calibrate(n_in, n_out) first, "
            "or readout.calibrate(lit, camera)."
        )
    camera, exposure = fringes.camera, fringes.exposure
    reference, mean = fringes.amplitude**2, INTENSITY_OF_A_MIRROR * lit
    factor = moments.noise / reference
    by_intensity = camera.variance(exposure)[1]
    return Budget(
        signal=mean / 2,
        shot=factor * by_intensity * (reference + mean),
        read=factor * (camera.read_noise / exposure.gain) ** 2,
        grey_levels=factor * (exposure.step / exposure.gain) ** 2 / 12,
        crosstalk=((1 - moments.gain) ** 2 / 2 + moments.crosstalk) * mean
        + moments.leakage * mean**2 / reference,
        saturation=_lost(fringes, mean),
    )


def snr_notes(readout: Readout, lit: float) -> dict[str, float]:
    """Return the signal-to-noise ratios of a calibrated read-out for the notes of `Cost`, where there is noise.

    `snr_db` [dB]: of the calibration pattern, in which `lit` components are lit. `snr_db_one_lit` [dB]: of a pattern
    with one component lit, the darkest that is shown.
    """
    if not isinstance(readout, OffAxis | PhaseShifting | Statistical):
        return {}
    ratios = {"snr_db": lit, "snr_db_one_lit": 1.0}
    found = {name: noise_budget(readout, components).snr_db for name, components in ratios.items()}
    return {name: ratio for name, ratio in found.items() if math.isfinite(ratio)}


def light_of_a_pixel(readout: Readout, lit: float) -> float:
    """Return the photoelectrons that an average pixel collects of a pattern with `lit` mirrors on.

    It is infinite for a read-out without a camera.
    """
    exposure = exposure_of(readout)
    if exposure is None:
        return math.inf
    wrapped = readout.wrapped if isinstance(readout, Statistical) else readout
    reference = wrapped.fringes.amplitude**2 if isinstance(wrapped, OffAxis | PhaseShifting) else 0.0
    return exposure.gain * (reference + INTENSITY_OF_A_MIRROR * lit)


def exposure_of(readout: Readout) -> Exposure | None:
    """Return the exposure of a calibrated read-out; `None` for one without a camera, and for one of the user's own."""
    wrapped = readout.wrapped if isinstance(readout, Statistical) else readout
    if isinstance(wrapped, Intensity):
        return wrapped.exposure
    return wrapped.fringes.exposure if isinstance(wrapped, OffAxis | PhaseShifting) else None


def _lost(fringes: Holography, mean: float) -> float:
    """Return the mean square of what full pixels take from a value, as if the field were constant over them."""
    ceiling = fringes.exposure.ceiling
    if math.isinf(ceiling):
        return 0.0
    middles = (torch.arange(POINTS) + 0.5) / POINTS
    brightness = BRIGHTEST * middles[:, None]  # |E|^2 / S
    field = torch.polar((mean * brightness).sqrt(), 2 * math.pi * middles)
    parts = torch.stack([field.real, field.imag])[None, None].flatten(3)
    signal = parts.square().sum(2)
    lost = torch.zeros_like(signal)
    for cosine, sine, weight in fringes.weights:
        light = fringes.intensity(parts, signal, cosine, sine, Workspace())
        lost.add_((light - ceiling).clamp(min=0.0), alpha=weight)
    density = BRIGHTEST / POINTS * torch.exp(-brightness)
    return float((density * lost.view(POINTS, POINTS).square()).sum() / POINTS)
