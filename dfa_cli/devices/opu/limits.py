"""Checks sizes against the mirrors and pixels of the modelled hardware."""

from __future__ import annotations

from dataclasses import dataclass

from dfa_cli.devices.optics import MIRRORS, PIXELS
from dfa_cli.errors import DfaError


@dataclass(frozen=True)
class Limits:
    """The size of the modelled hardware: mirrors of the micromirror device, and pixels of the camera.

    The defaults are 1140 x 912 mirrors and 1920 x 1080 pixels. `lift=True` skips the check, to plan for hardware
    that does not exist.
    """

    mirrors: int = MIRRORS
    pixels: int = PIXELS
    lift: bool = False

    def check(self, n_in: int, macropixel: int, n_out: int, pixels_per_mode: int) -> None:
        """Raise `DfaError`, which names the limit, when `n_in` components or `n_out` modes are too many."""
        if n_in < 1 or n_out < 1:
            raise DfaError(f"A projection has at least one component and one mode, not {n_in} and {n_out}.")
        if self.lift:
            return
        lift = "plan for larger hardware with device.limits.lift=true"
        if n_in * macropixel > self.mirrors:
            fewer = "Set a smaller device.macropixel" if macropixel > 1 else "Project fewer components"
            raise DfaError(
                f"The error needs {n_in} x {macropixel} = {n_in * macropixel} mirrors (components x mirrors of each), "
                f"but the device has device.limits.mirrors={self.mirrors}. {fewer}, or {lift}."
            )
        if n_out * pixels_per_mode > self.pixels:
            other = ", use device/readout=phase_shifting (one pixel per mode)" if pixels_per_mode > 1 else ""
            raise DfaError(
                f"The projection needs {n_out} x {pixels_per_mode} = {n_out * pixels_per_mode} pixels (modes x pixels "
                f"of each), but the camera has device.limits.pixels={self.pixels}. Project to fewer modes{other}, or "
                f"{lift}."
            )
