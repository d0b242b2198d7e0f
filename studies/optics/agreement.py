"""Compares the statistical read-out with the pixels that it stands for, and prints the table of docs/opu.md.

    python -m studies.optics.agreement
    python -m studies.optics.agreement --bright

A cell is the deviation of the simulated pixels' error over that of the statistical read-out: 1.00 is agreement, 2.00
says that the statistical read-out is twice too optimistic. `--bright` prints the same for patterns with 1.8 times the
light of the calibration frame, which fill single pixels: mean and standard deviation over 20 draws of 100 rows.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from dfa_cli.devices.opu import Camera, OffAxis, PhaseShifting, Statistical
from dfa_cli.devices.opu.encoding import Frames
from dfa_cli.devices.opu.readout.base import Readout

CALIBRATED = 50.0  # mirrors lit in the calibration frame
LIGHT = (1.0, 0.2, 0.02)  # of the frames that are read, over the light of the calibration frame
PHOTONS = (1.0, 10.0, 100.0, 2500.0)
BITS = (1, 2, 3, 4, 5, 6, 8, 12)


def error_of(readout: Readout, camera: Camera, field: Tensor, seed: int) -> Tensor:
    """Return the error of the real part, `[rows, modes]`, of the complex `field` `[rows, modes]`."""
    rows = len(field)
    frames = Frames(torch.ones(1, rows, 1), torch.ones(1, rows), (1.0,), torch.ones(rows, 1))
    readout.calibrate(CALIBRATED, camera)
    parts = torch.stack([field.real, field.imag], 1)[None]
    return readout.read(parts, frames, torch.Generator().manual_seed(seed)).values - field.real


def ratio(bits: int, photons: float, light: float, name: str, rows: int) -> float:
    readout = PhaseShifting() if name == "phase_shifting" else OffAxis(demodulation=name)
    return _ratio(readout, Camera(bits=bits, photons=photons), light, rows, seed=bits)


def _ratio(readout: OffAxis | PhaseShifting, camera: Camera, light: float, rows: int, seed: int) -> float:
    draws = torch.Generator().manual_seed(seed)
    field = torch.randn(rows, 1024, dtype=torch.complex64, generator=draws) * (2 * light * CALIBRATED) ** 0.5
    pixels = error_of(readout, camera, field, 1)
    model = error_of(Statistical(readout), camera, field, 2)
    return float((pixels.square().mean() / model.square().mean()).sqrt())


def bright() -> str:
    lines = []
    for name, camera, readout in (
        ("default camera", Camera(), OffAxis()),
        ("12 bits, full well of 10^6", Camera(bits=12, full_well=1e6), OffAxis()),
        ("grain=8", Camera(), OffAxis(grain=8)),
    ):
        ratios = torch.tensor([_ratio(readout, camera, 1.8, 100, seed) for seed in range(20)])
        lines.append(f"{name}: {ratios.mean():.2f} (draws of 100 rows scatter by {ratios.std():.2f})")
    return "\n".join(lines)


def table(name: str, rows: int) -> str:
    head = [f"{photons:,.0f} photons, light {light:g}" for light in LIGHT for photons in PHOTONS]
    lines = [f"| bits | {' | '.join(head)} |", "| ---: |" + " ---: |" * len(head)]
    for bits in BITS:
        cells = [f"{ratio(bits, photons, light, name, rows):.2f}" for light in LIGHT for photons in PHOTONS]
        lines.append(f"| {bits} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--readout", choices=("fourier", "local", "phase_shifting"), default="fourier")
    parser.add_argument("--rows", type=int, default=32, help="rows of 1024 modes in each cell")
    parser.add_argument("--bright", action="store_true", help="patterns brighter than the calibration frame")
    arguments = parser.parse_args()
    print(bright() if arguments.bright else table(arguments.readout, arguments.rows))


if __name__ == "__main__":
    main()
