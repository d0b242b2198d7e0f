"""Off-axis holography: a tilted reference beam, and band-limited speckle on the pixels of a camera."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dfa_cli.config.bounds import require
from dfa_cli.devices.opu.camera import Camera
from dfa_cli.devices.opu.encoding import Frames
from dfa_cli.devices.opu.readout.base import Reading, weighted_sum
from dfa_cli.devices.opu.readout.holography import Holography, Moments, require_fringes
from dfa_cli.devices.opu.readout.row import Row
from dfa_cli.errors import DfaError

MODES_IN_A_ROW = 256
# So many modes are simulated at a time: enough for threads to share, and few enough for a processor's cache. It is no
# setting, since the noise is drawn in this order.
MODES_AT_ONCE = 1 << 18


class OffAxis:
    """Off-axis holography: a tilted reference beam draws fringes across the speckle, and one image recovers the field.

    `Row` has the equations. A part of a projection begins a new row of the camera, and is divided evenly among rows of
    at most 256 modes. So what is read of a part does not depend on other parts.

    `grain`: number of camera pixels that a speckle grain covers along the row. A grain is one mode. At least 4: fewer
    pixels cannot hold both `|E|^2` and the fringes. Across the rows, a grain covers one pixel.
    `band_limited=False`: the field is constant over the pixels of a grain, which makes `demodulation="local"` exact.
    No light is like that. It is the model of the first version.
    `demodulation`: `fourier` or `local`.
    `reference`: intensity of the reference beam, divided by the mean of `|E|^2` in the calibration pattern. With `lit`
    mirrors on in that pattern, `R^2 = reference * 2 lit`.
    `visibility`: contrast of the fringes in the light that reaches the camera.
    `headroom`: how many r.m.s. amplitudes of the calibration field the camera takes without saturating, when its
    exposure is `auto`.

    Cuche, Marquet and Depeursinge 2000, Appl. Opt. 39, 4070.
    """

    imaginary = True
    exposures = 1

    def __init__(
        self,
        grain: int = 4,
        band_limited: bool = True,
        demodulation: str = "fourier",
        reference: float = 4.0,
        visibility: float = 1.0,
        headroom: float = 3.0,
    ):
        require_fringes(grain=grain, reference=reference, visibility=visibility, headroom=headroom)
        require("device.readout.band_limited", band_limited)
        require("device.readout.demodulation", demodulation)
        if demodulation == "fourier" and not band_limited:
            raise DfaError(
                "device.readout.demodulation=fourier needs a field that is limited to a band. Choose "
                "device.readout.demodulation=local, or device.readout.band_limited=true."
            )
        self.grain = self.pixels_per_mode = grain
        self.band_limited = band_limited
        self.demodulation = demodulation
        self._rows: dict[tuple[int, torch.device], Row] = {}
        if band_limited:
            self.moments: Moments = Row(MODES_IN_A_ROW, grain, demodulation, visibility).moments()
            contrast = (2 * grain * self.moments.noise) ** -0.5
        else:
            # A pixel averages the fringe over its width. `half_pixel` is half of the phase that it goes through there.
            half_pixel = math.pi / grain
            contrast = visibility * math.sin(half_pixel) / half_pixel
        # `contrast` is that of the pixels in all: the noise has the variance `a / (2 P contrast^2 R^2)` in both cases.
        self.visibility = visibility
        self.fringes = Holography(grain, reference, contrast, headroom)
        if not band_limited:
            self.moments = self.fringes.moments

    def calibrate(self, lit: float, camera: Camera) -> None:
        self.fringes.calibrate(lit, camera)

    def row(self, modes: int, compute: torch.device | str = "cpu") -> Row:
        """Return a row of the camera with so many modes, as this read-out simulates it."""
        key = (modes, torch.device(compute))
        if key not in self._rows:
            self._rows[key] = Row(modes, self.grain, self.demodulation, self.visibility).to(key[1])
        return self._rows[key]

    def read(self, field: Tensor, frames: Frames, noise: torch.Generator) -> Reading:
        if not self.band_limited:
            return self.fringes.read(field, frames, noise)
        count, rows, _, n_out = field.shape
        lines = math.ceil(n_out / MODES_IN_A_ROW)
        row = self.row(math.ceil(n_out / lines), field.device)
        dark = lines * row.modes - n_out  # modes that fill up the last row and carry no output
        parts, amplitude = field.reshape(count * rows, 2, n_out), self.fringes.amplitude
        # A frame with no mirror on is not shown. Its field is known to be zero, so it must get no noise.
        lit = frames.shown.reshape(-1) > 0
        # On CUDA all are computed and those that are not shown set to zero: to find them, the CPU would have to wait.
        chosen = torch.arange(len(lit), device=lit.device) if lit.is_cuda else lit.nonzero().squeeze(1)
        real = field.new_zeros(count * rows, n_out)
        saturated_pixels: Tensor | int = 0
        for chunk in chosen.split(max(1, MODES_AT_ONCE // n_out)) if len(chosen) else ():
            modes = torch.complex(*parts.index_select(0, chunk).unbind(1))
            if dark:
                modes = torch.nn.functional.pad(modes, (0, dark))
            light = row.intensity(modes.unflatten(-1, (lines, row.modes)), amplitude)
            measured, saturated = self.fringes.camera.measure(light, self.fringes.exposure, noise)
            real.index_copy_(0, chunk, row.real_part(measured, amplitude).flatten(1)[:, :n_out])
            if isinstance(saturated, Tensor):
                of_shown = torch.where(lit.index_select(0, chunk).unsqueeze(1), saturated, 0)
                saturated_pixels = saturated_pixels + of_shown.sum()
        if lit.is_cuda:
            real.mul_(lit.unsqueeze(1))
        values = weighted_sum(real.view(count, rows, n_out), frames.weights).mul_(frames.scale)
        return Reading(values, full=saturated_pixels, pixels=lines * row.pixels)
