"""Follows one pattern from the mirrors to the values that the read-out gives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dfa_cli.seeding import generator

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from dfa_cli.devices.opu import OPU
    from dfa_cli.devices.opu.readout.budget import Budget

MODES_IN_A_ROW = 256  # of the image


@dataclass(frozen=True)
class Image:
    """What the camera sees of a pattern.

    `speckle` `[rows, pixels]`: intensity without the reference beam, over its mean. `levels` `[rows, pixels]`: what the
    camera gives, with its noise, in `unit`. `spectrum`: mean power of `levels` at `frequencies` [cycles per sample].
    `carrier`: where the fringes lie, `None` without a reference beam. `band`: lowest and highest frequency of the
    fringes, where they have a width. `samples`: what lies side by side in a row of `levels`, pixels or exposures.
    `photoelectrons`: mean of a pixel in an exposure. `exposed`: this exposure over the full one, `None` where the light
    does not follow from the laser.
    """

    speckle: Tensor
    levels: Tensor
    unit: str
    frequencies: Tensor
    spectrum: Tensor
    carrier: float | None
    band: tuple[float, float] | None
    samples: str
    photoelectrons: float
    exposed: float | None


@dataclass(frozen=True)
class Beam:
    """What happens to one pattern between the mirrors and the read-out.

    `pattern` `[n_in]`: 1 for a component that is lit. `true` `[n_out]`: the exact value at each mode. `read` `[n_out]`:
    the value that the read-out returns. Both are divided by the root mean square of the exact values. `what`: the name
    of the quantity that is read. `image`: `None` where no camera is simulated. `budget`: `None` for a read-out
    without a formula.
    """

    pattern: Tensor
    true: Tensor
    read: Tensor
    what: str
    image: Image | None
    budget: Budget | None

    @property
    def measured_snr_db(self) -> float:
        noise = float((self.read - self.true).square().mean())
        return 10 * math.log10(float(self.true.var()) / noise) if noise else math.inf


def lit_at_random(device: OPU, n_in: int, lit: int) -> Tensor:
    """Return a pattern `[n_in]` with `lit` components lit at random."""
    import torch

    pattern = torch.zeros(n_in)
    pattern[torch.randperm(n_in, generator=_draws(device, "components"))[:lit]] = 1.0
    return pattern


def shown_of_an_error(device: OPU, n_in: int) -> Tensor:
    """Return the patterns `[patterns, n_in]` that the encoding shows of an error, without those that are dark.

    It is an error of an untrained network, `softmax(z) - y` with `z ~ N(0, 1)`, where the first component is right.
    """
    import torch

    draws = _draws(device, "error")
    error = torch.softmax(torch.randn(1, n_in, generator=draws), 1)
    error[0, 0] -= 1.0
    frames = device.encoding.encode(error, draws)
    return frames.patterns[frames.shown > 0]


def _draws(device: OPU, purpose: str) -> torch.Generator:
    import torch

    return generator(device.noise_seed, f"beam {purpose}", torch.device("cpu"))


def follow(device: OPU, pattern: Tensor) -> Beam:
    """Show a pattern `[n_in]`. The device must be prepared for its size."""
    import torch

    from dfa_cli.devices.opu import Intensity, OffAxis, PhaseShifting, Statistical
    from dfa_cli.devices.opu.encoding import Frames
    from dfa_cli.devices.opu.readout.budget import noise_budget

    draws = _draws(device, "noise")
    pattern = pattern[None]
    field = device.field(pattern)[0]
    parts = torch.stack([field.real, field.imag])
    frames = Frames(pattern[None], torch.ones(1, 1), (1.0,), torch.ones(1, 1))
    read = device.readout.read(parts[None, None].clone(), frames, draws).values[0]

    intensity = isinstance(device.readout, Intensity)
    true = field.abs().square() if intensity else field.real
    if intensity:  # its values have a scale of their own
        read = read * (true @ true / (true @ read))
    unit = float(true.square().mean().sqrt())
    budget = None
    if isinstance(device.readout, (OffAxis, PhaseShifting, Statistical)):
        budget = noise_budget(device.readout, float(pattern.square().sum()))  # as many as are lit
    what = "abs(E)^2" if intensity else "Re E"
    return Beam(pattern[0], true / unit, read / unit, what, _image(device, field, draws), budget)


def _image(device: OPU, field: Tensor, noise: object) -> Image | None:
    import torch

    from dfa_cli.devices.opu import Intensity, OffAxis, PhaseShifting
    from dfa_cli.devices.opu.workspace import Workspace

    readout = getattr(device.readout, "wrapped", device.readout)
    modes = min(MODES_IN_A_ROW, len(field))
    field = field[: len(field) // modes * modes].view(-1, modes)
    intensity = field.abs().square()
    carrier, band, samples = None, None, "pixels"
    if isinstance(readout, OffAxis) and readout.band_limited:
        row = readout.row(modes)
        speckle = row.intensity(field, 0.0)
        light = row.intensity(field, readout.fringes.amplitude)
        carrier = row.carrier / row.pixels
        band = (carrier - modes / 2 / row.pixels, carrier + modes / 2 / row.pixels)
    elif isinstance(readout, (OffAxis, PhaseShifting)):
        fringes, parts = readout.fringes, torch.stack([field.real, field.imag])[None, None]
        angles = [2 * math.pi * p / fringes.samples for p in range(fringes.samples)]
        light = torch.stack(
            [
                fringes.intensity(
                    parts.flatten(3), intensity.view(1, 1, -1), math.cos(a), math.sin(a), Workspace()
                ).view_as(intensity)
                for a in angles
            ],
            -1,
        )
        carrier = 1 / fringes.samples
        samples = "pixels" if isinstance(readout, OffAxis) else "exposures"
        speckle = intensity.repeat_interleave(fringes.samples if samples == "pixels" else 1, 1)
    elif isinstance(readout, Intensity):
        speckle = light = intensity
    else:  # `Ideal` has no camera, and what a read-out of your own sees is not known
        return None
    optics = readout if isinstance(readout, Intensity) else readout.fringes
    exposure = optics.exposure
    photoelectrons = float(light.mean()) * exposure.gain
    levels = optics.camera.measure(light.clone(), exposure, noise)[0] * exposure.gain  # type: ignore[arg-type]
    unit = "photoelectrons"
    if exposure.step:
        levels, unit = levels / exposure.step, f"grey level, of 0 to {exposure.range / exposure.step:.0f}"
    # Exposures follow one another at each pixel. Pixels lie side by side in a row.
    along = levels if samples == "exposures" else levels.flatten(1)
    spectrum = torch.fft.rfft(along, norm="forward").abs().square().flatten(0, -2).mean(0)
    return Image(
        speckle / speckle.mean(),
        levels.flatten(1),
        unit,
        torch.fft.rfftfreq(along.shape[-1]),
        spectrum,
        carrier,
        band,
        samples,
        photoelectrons,
        exposure.share if optics.camera.photons == "auto" else None,
    )
