"""How many mirrors and pixels the modelled hardware has."""

from __future__ import annotations

from dataclasses import dataclass

from dfa_cli.devices.optics import MIRRORS, PIXELS
from dfa_cli.errors import DfaError


@dataclass(frozen=True)
class Limits:
    """Mirrors of the micromirror device and pixels of the camera: 1140 x 912 and 1920 x 1080 by default.

    `lift` skips the check, to plan for hardware that does not exist.
    """

    mirrors: int = MIRRORS
    pixels: int = PIXELS
    lift: bool = False

    def check(self, n_in: int, macropixel: int, n_out: int, pixels_per_mode: int) -> None:
        """Raises `DfaError` naming the limit that `n_in` components or `n_out` modes are beyond."""
        if self.lift:
            return
        lift = "device.limits.lift=true lifts the limit for planning"
        if n_in * macropixel > self.mirrors:
            raise DfaError(
                f"{n_in} components on {macropixel} mirror(s) each need {n_in * macropixel} mirrors, and the "
                f"device has device.limits.mirrors={self.mirrors}; project fewer components, or {lift}."
            )
        if n_out * pixels_per_mode > self.pixels:
            raise DfaError(
                f"{n_out} modes on {pixels_per_mode} camera pixel(s) each need {n_out * pixels_per_mode} "
                f"pixels, and the camera has device.limits.pixels={self.pixels}; project to fewer modes, use "
                f"device/readout=phase_shifting (one pixel a mode), or {lift}."
            )
