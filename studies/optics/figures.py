"""Draws the pictures of docs/opu.md with the simulator itself.

    python -m studies.optics.figures   speckle, fringes, signal-to-noise: some seconds

The pictures are written to docs/images, or to the folder given with --out.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dfa_cli.devices.opu import Camera, OffAxis, PhaseShifting, Procedural, Statistical
from dfa_cli.devices.opu.encoding import Frames
from dfa_cli.devices.opu.readout.base import Readout
from dfa_cli.machine.files import write_atomically
from dfa_cli.plots.style import INK, dress, line_look, reference_look, save

MIRRORS, LIT = 1000, 500
CPU = torch.device("cpu")


def field_of_a_frame(modes: int, seed: int = 0) -> Tensor:
    """Return the complex field `[modes]` of a binary pattern with half of 1000 mirrors on."""
    medium = Procedural()
    medium.prepare(MIRRORS, modes, seed, CPU)
    frame = torch.zeros(1, MIRRORS)
    frame[0, torch.randperm(MIRRORS, generator=torch.Generator().manual_seed(seed))[:LIT]] = 1
    real, imaginary = medium.fields(frame, imaginary=True)[0]
    return torch.complex(real, imaginary)


def speckle(out: Path) -> None:
    """Draw a speckle image, and the histogram of its intensity beside the exponential law."""
    side = 96
    intensity = (field_of_a_frame(side * side).abs().square() / (2 * LIT)).view(side, side)
    figure = Figure(figsize=(7.6, 3.2), layout="constrained")
    image, histogram = figure.subplots(1, 2)
    shown = image.imshow(intensity, cmap="inferno", vmax=5)
    dress(image, "Speckle of one binary pattern", "mode", "mode")
    image.grid(visible=False)
    figure.colorbar(shown, ax=image, label="intensity / mean")
    values = intensity.flatten().numpy()
    contrast = values.std() / values.mean()
    histogram.hist(values, bins=60, range=(0, 8), density=True, color="0.7", label=f"contrast {contrast:.3f}")
    x = np.linspace(0, 8, 100)
    histogram.plot(x, np.exp(-x), color=INK, label="exp(-I / mean)")
    histogram.set_yscale("log")
    dress(histogram, "Its distribution", "intensity / mean", "density")
    histogram.legend(frameon=False, fontsize=8.5)
    _write(figure, out / "opu_speckle.png")


def fringes(out: Path) -> None:
    """Draw off-axis fringes as the 8-bit camera sees them, and the recovered field against the true one."""
    rows, columns, height = 5, 8, 4  # A mode is drawn `height` equal pixels high.
    readout, camera = OffAxis(), Camera()
    readout.calibrate(LIT, camera)
    optics = readout.fringes
    # The first modes of a long row, so that the picture has no end at which a row begins anew.
    field = field_of_a_frame(rows * 64).view(rows, 64)
    light = readout.row(64).intensity(field, optics.amplitude)
    levels = camera.measure(light, optics.exposure, torch.Generator().manual_seed(1))[0]
    levels = levels[:, : columns * readout.grain] * optics.exposure.gain / optics.exposure.step
    image = levels.repeat_interleave(height, 0)

    figure = Figure(figsize=(7.6, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    extent = (0, columns, rows, 0)
    shown = left.imshow(image, cmap="gray", aspect="auto", extent=extent)
    left.set_xticks(range(columns + 1))
    left.set_yticks(range(rows + 1))
    dress(left, "Off-axis fringes: 4 pixels across each grain", "mode", "mode")
    left.set_axisbelow(False)
    left.grid(color="#D55E00", linewidth=1)
    figure.colorbar(shown, ax=left, label="grey level (8 bits)")
    many = field_of_a_frame(4000)
    read = recover_real_part(OffAxis(), camera, many[None])[0]
    unit = LIT**0.5
    right.plot(many.real / unit, read / unit, ".", color=line_look(0)["color"], markersize=2)
    right.plot([-4, 4], [-4, 4], color=INK, linewidth=0.7)
    error = float((read - many.real).std() / many.real.std())
    dress(right, f"Recovered against true: {error:.1%} noise", "Re E / r.m.s.", "recovered")
    _write(figure, out / "opu_fringes.png")


def recover_real_part(readout: Readout, camera: Camera, field: Tensor) -> Tensor:
    """Return the real part of the complex `field` `[rows, modes]` as the calibrated read-out recovers it."""
    readout.calibrate(LIT, camera)
    parts = torch.stack([field.real, field.imag], 1)[None]
    rows = len(field)
    frames = Frames(torch.ones(1, rows, 1), torch.ones(1, rows), (1.0,), torch.ones(rows, 1))
    return readout.read(parts, frames, torch.Generator().manual_seed(2)).values


def snr_in_decibels(readout: Readout, camera: Camera, field: Tensor) -> float:
    error = recover_real_part(readout, camera, field) - field.real
    return float(10 * torch.log10(field.real.var() / error.var()))


def signal_to_noise(out: Path) -> None:
    """Draw the signal-to-noise ratio against bits and photons: pixels as dots, the statistical model as lines."""
    field = field_of_a_frame(20_000)[None]
    figure = Figure(figsize=(7.6, 3.2), layout="constrained")
    by_bits, by_photons = figure.subplots(1, 2, sharey=True)
    bits = list(range(2, 13))
    kinds: list[tuple[str, dict[str, Any]]]
    kinds = [
        ("no other noise", {"read_noise": 0.0, "shot_noise": False, "photons": None}),
        ("10,000 electrons full well", {"photons": None}),
        ("100 photons a pixel", {"photons": 100.0}),
    ]
    for i, (label, rest) in enumerate(kinds):
        cameras = [Camera(bits=b, **rest) for b in bits]
        _dots_and_line(by_bits, bits, cameras, field, i, label)
    by_bits.plot(bits, [6.02 * b - 12 for b in bits], label="6.02 dB a bit", **reference_look(1))
    dress(by_bits, "", "bits of the camera", "signal-to-noise ratio of Re E (dB)")

    photons = [float(10 ** (k / 2)) for k in range(1, 13)]
    kinds = [
        ("shot noise alone", {"bits": None, "full_well": None, "read_noise": 0.0}),
        ("8 bits, 10,000 electrons, 5 read noise", {}),
        ("4 bits, the same", {"bits": 4}),
    ]
    for i, (label, rest) in enumerate(kinds):
        cameras = [Camera(**{**rest, "photons": p}) for p in photons]
        _dots_and_line(by_photons, photons, cameras, field, i, label)
    by_photons.plot(
        photons, [10 * np.log10(p) - 1 for p in photons], label="10 dB a decade", **reference_look(1)
    )
    by_photons.set_xscale("log")
    dress(by_photons, "", "photoelectrons of an average pixel", "")
    for axes in (by_bits, by_photons):
        axes.legend(fontsize=8, frameon=False, handlelength=3.2)
    _write(figure, out / "opu_snr.png")


def _dots_and_line(axes: Axes, x: list, cameras: list[Camera], field: Tensor, i: int, label: str) -> None:
    """Draw the pixels as the markers, and the statistical model as the line, of series number `i`."""
    pixels = [snr_in_decibels(OffAxis(headroom=5.0), camera, field) for camera in cameras]
    model = [snr_in_decibels(Statistical(OffAxis(headroom=5.0)), camera, field) for camera in cameras]
    look = line_look(i)
    axes.plot(x, pixels, **{**look, "linestyle": ""})
    axes.plot(x, model, **{**look, "marker": ""})
    axes.plot([], [], label=label, **look)


def read_outs(out: Path) -> None:
    """Draw the signal-to-noise ratio of each read-out against the number of mirrors that are lit."""
    lit = [LIT * 2.0**-k for k in range(8, -2, -1)]
    base = field_of_a_frame(20_000)[None]
    figure = Figure(figsize=(5.5, 3.8), layout="constrained")
    axes = figure.subplots()
    readouts = (
        ("off-axis", OffAxis()),
        ("statistical model of it", Statistical()),
        ("phase-shifting", PhaseShifting()),
    )
    for i, (label, readout) in enumerate(readouts):
        found = [snr_in_decibels(readout, Camera(), base * (mirrors / LIT) ** 0.5) for mirrors in lit]
        # The first two coincide, so the first has larger markers.
        look = line_look(i)
        if i == 0:
            look["markersize"] = 9
        axes.plot([mirrors / LIT for mirrors in lit], found, label=label, **look)
    axes.set_xscale("log")
    below, beside = "mirrors lit / those of the calibration pattern", "signal-to-noise ratio of Re E (dB)"
    dress(axes, "The default camera, and less or more light", below, beside)
    axes.legend(frameon=False, fontsize=8.5, handlelength=3.2)
    _write(figure, out / "opu_signal.png")


def _write(figure: Figure, path: Path) -> None:
    write_atomically(path, save(figure, path.suffix))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "docs" / "images")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for picture in (speckle, fringes, signal_to_noise, read_outs):
        picture(arguments.out)


if __name__ == "__main__":
    main()
