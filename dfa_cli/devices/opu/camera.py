"""The camera: photons to grey levels."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from dfa_cli.config.bounds import require
from dfa_cli.errors import DfaError

FEW_PHOTONS = 64.0
READ_NOISE_ABOVE = 4.0  # r.m.s.: one dark pixel in 30,000 is beyond


@dataclass(frozen=True)
class Exposure:
    """`gain`: photoelectrons a pixel collects per unit of intensity; `range`: photoelectrons that fill the
    converter or the well; `step`: photoelectrons per grey level, 0 without a converter.
    """

    gain: float
    range: float
    step: float

    @property
    def ceiling(self) -> float:
        """The intensity from which a pixel is full."""
        return self.range / self.gain


@dataclass(frozen=True)
class Camera:
    """An image sensor: `level = round(min(Poisson(gain I) + read noise, range) / step)`.

        step = range / (2^bits - 1)                                  [photoelectrons per grey level]
        variance of a pixel = gain I + read_noise^2 + step^2 / 12    [photoelectrons^2], below saturation

    `bits`: resolution of the converter, None for none. `full_well` [photoelectrons]: a pixel holds no more,
    None for no saturation. `read_noise` [photoelectrons, r.m.s.]. `photons`: photoelectrons that the light
    gives an average pixel of the calibration frame in a full exposure, None for as many as wanted.
    `shot_noise`: whether photons arrive at random. `exposure`: `auto` fills the well at the brightest pixel
    to be expected and no further (the read-out's `headroom`) or, with too little light for that, takes the
    full exposure and the analogue gain that brings this pixel, and four times the read noise above it, to the
    converter's top; a number is a fixed multiple of the full exposure, with the converter's top at the full
    well. The black level is subtracted, so that read noise around zero is not clipped.

    The intensity is that of the field in units of the projection: a lit mirror gives a mode 2 on average.

    EMVA Standard 1288 has the model; the defaults are what 8-bit industrial CMOS sensors are like, and no
    particular one.
    """

    bits: int | None = 8
    full_well: float | None = 10_000.0
    read_noise: float = 5.0
    photons: float | None = 2_500.0
    shot_noise: bool = True
    exposure: str | float = "auto"

    def __post_init__(self) -> None:
        for field in fields(Camera):
            require(f"device.camera.{field.name}", getattr(self, field.name))
        if self.exposure != "auto" and self.photons is None:
            raise DfaError(
                "A fixed device.camera.exposure needs device.camera.photons, the light of a full exposure."
            )
        if self.bits is not None and self.full_well is None:
            raise DfaError(
                "device.camera.bits needs device.camera.full_well: the grey levels divide the full well."
            )

    def expose(self, mean: float, peak: float) -> Exposure:
        """The exposure for an average intensity `mean` and a brightest expected one `peak`."""
        full = float("inf") if self.photons is None else self.photons / mean
        well = float("inf") if self.full_well is None else self.full_well
        if self.exposure == "auto":
            gain = min(full, well / peak)
            # Neither light nor well sets a scale: enough photons that their noise is below single precision.
            gain = 1e15 / mean if gain == float("inf") else gain
            brightest = gain * peak + READ_NOISE_ABOVE * self.read_noise
            top = min(well, brightest) if self.full_well is not None else well
        else:
            gain, top = full * float(self.exposure), well
        return Exposure(gain, top, 0.0 if self.bits is None else top / (2**self.bits - 1))

    def variance(self, exposure: Exposure) -> tuple[float, float]:
        """`(a, b)`: the variance of a measured intensity `I` is `a + b I`, below saturation."""
        fixed = (self.read_noise**2 + exposure.step**2 / 12) / exposure.gain**2
        return fixed, (1 / exposure.gain if self.shot_noise else 0.0)

    def measure(
        self, intensity: Tensor, exposure: Exposure, noise: torch.Generator
    ) -> tuple[Tensor, Tensor | int]:
        """What the camera says of `intensity` `[..., pixels]` (overwritten), in the same unit, and how many pixels of
        each image were full.

        The counts `[...]` are a tensor, so that an accelerator need not be waited for, or 0 where there is no well.
        """
        electrons = self._arrive(intensity.mul_(exposure.gain), noise)
        full: Tensor | int = 0
        if self.full_well is not None:
            full = (electrons >= exposure.range).sum(-1)
            electrons.clamp_(max=exposure.range)
        if exposure.step:
            electrons.mul_(1 / exposure.step).round_().mul_(exposure.step)
        return electrons.mul_(1 / exposure.gain), full

    def _arrive(self, mean: Tensor, noise: torch.Generator) -> Tensor:
        """Photoelectrons with shot and read noise, for the `mean` (overwritten).

        Below 64 photons the Poisson numbers are exact. Above, one normal number stands for both noises, bent
        so that it has their mean, variance and skewness (Cornish and Fisher): its distribution differs from
        the true one by less than 0.004 anywhere, at a twentieth of the cost.
        """
        if not self.shot_noise and not self.read_noise:
            return mean
        z = torch.empty_like(mean).normal_(generator=noise)
        if not self.shot_noise:
            return mean.add_(z, alpha=self.read_noise)
        dim = mean < FEW_PHOTONS
        if mean.is_cuda:
            # which pixels are dim is not asked, since that would wait for the accelerator: all get both numbers
            exact = torch.poisson(mean.clamp(max=FEW_PHOTONS), generator=noise).add_(z, alpha=self.read_noise)
            return torch.where(dim, exact, self._bent(mean, z))
        few = mean[dim]
        electrons = self._bent(mean, z)
        if few.numel():
            exact = torch.poisson(few, generator=noise)
            exact.add_(torch.empty_like(few).normal_(generator=noise), alpha=self.read_noise)
            electrons[dim] = exact
        return electrons

    def _bent(self, mean: Tensor, z: Tensor) -> Tensor:
        """Both noises from the normal `z`; both tensors are overwritten."""
        variance = mean + self.read_noise**2
        skewness = mean / variance if self.read_noise else None
        mean.addcmul_(variance.sqrt_(), z)
        bend = z.square_().sub_(1).mul_(1 / 6)
        return mean.addcmul_(bend, skewness) if skewness is not None else mean.add_(bend)
