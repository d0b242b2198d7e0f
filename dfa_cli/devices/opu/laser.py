"""The laser, from which the photoelectrons of a pixel follow."""

from __future__ import annotations

from dataclasses import dataclass, fields

from dfa_cli.config.bounds import require
from dfa_cli.devices.optics import EXPOSURE_SECONDS

PLANCK = 6.62607015e-34  # J s
LIGHT_SPEED = 299_792_458.0  # m / s


@dataclass(frozen=True)
class Laser:
    """A laser beam that lights all mirrors evenly, and whose scattered light falls evenly on all pixels.

        photoelectrons of a pixel, all mirrors on = watts wavelength / (h c) exposure_seconds efficiency / pixels

    A mirror sends its share of the light. More pixels share the same light, so each gets less.

    `watts` [W]: power on the mirrors. `wavelength` [m].
    `exposure_seconds` [s]: the full exposure of the camera. A longer one makes the frame longer (`FrameTime`).
    `efficiency`: photoelectrons for each photon on the mirrors. The default is 0.6 (diffraction of the mirrors) x 0.1
    (through the medium) x 0.1 (into the lens) x 0.5 (polariser) x 0.6 (quantum efficiency), rounded.

    The reference beam does not go through the medium, so its light is not counted here.
    """

    watts: float = 1e-3
    wavelength: float = 532e-9
    exposure_seconds: float = EXPOSURE_SECONDS
    efficiency: float = 2e-3

    def __post_init__(self) -> None:
        for field in fields(self):
            require(f"device.laser.{field.name}", getattr(self, field.name))

    def photoelectrons(self, pixels: int) -> float:
        """Return what each of `pixels` pixels collects in a full exposure with all mirrors on."""
        photons = self.watts * self.wavelength / (PLANCK * LIGHT_SPEED) * self.exposure_seconds
        return photons * self.efficiency / pixels
