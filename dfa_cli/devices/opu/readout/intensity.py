"""A read-out without holography: it takes the intensities as they are."""

from __future__ import annotations

import torch
from torch import Tensor

from dfa_cli.config.bounds import require
from dfa_cli.devices.opu.camera import Camera
from dfa_cli.devices.opu.encoding import Frames
from dfa_cli.devices.opu.readout.base import INTENSITY_OF_A_MIRROR, Reading, count_shown, weighted_sum


class Intensity:
    """Returns the intensity `|E|^2`, which the camera measures without a reference beam.

    This read-out is not linear in the error.

        y = s * sum_f weights[f] |T^T x_f|^2

    It takes one image a pattern and one pixel a mode. Averaged over random media, two patterns `x` and `z` have the
    kernel `E |T^T x|^2 |T^T z|^2 = 4 (|x|^2 |z|^2 + <x, z>^2)` at each mode. The scale `s` is computed from this
    kernel, so that `E |y|^2 = n_out |e|^2` as for the linear read-outs.

    `headroom`: the brightest pixel to be expected is `headroom^2` times the mean of the calibration pattern.

    Saade et al. 2016 (arXiv 1510.06664).
    """

    imaginary = True
    linear = False
    exposures = 1
    pixels_per_mode = 1

    def __init__(self, headroom: float = 3.0):
        require("device.readout.headroom", headroom)
        self.headroom = headroom

    def calibrate(self, lit: float, camera: Camera) -> None:
        mean = INTENSITY_OF_A_MIRROR * lit
        self.camera = camera
        self.exposure = camera.expose(mean, self.headroom**2 * mean)

    def read(self, field: Tensor, frames: Frames, noise: torch.Generator) -> Reading:
        light = field.square().sum(2)
        measured, full = self.camera.measure(light, self.exposure, noise)
        values = weighted_sum(measured.mul_(frames.shown.unsqueeze(2)), frames.weights)

        rows = frames.scale.new_ones(len(frames.scale))
        weights = torch.stack(
            [rows * (w.view(-1) if isinstance(w, Tensor) else w) for w in frames.weights], 1
        )  # [rows, frames]
        products = torch.einsum("frn,grn->rfg", frames.patterns, frames.patterns)  # <x_f, x_g>
        weighted = weights[:, :, None] * weights[:, None] * products
        squared_norm = weighted.sum((1, 2))  # |e|^2 / scale^2
        signed_mirrors = (products.diagonal(dim1=1, dim2=2) * weights).sum(1)  # sum_f weights[f] |x_f|^2
        # The kernel gives the mean square of a value. From it follows the scale `s` of the class.
        mean_square = 4 * (signed_mirrors.square() + (weighted * products).sum((1, 2)))
        size_over_scale = (
            (squared_norm.clamp_min(0.0) / torch.where(mean_square > 0, mean_square, 1.0))
            .sqrt_()
            .unsqueeze_(1)
        )
        values.mul_(size_over_scale * frames.scale)
        return Reading(values, full=count_shown(full, frames), pixels=measured.shape[2])
