"""Rules that keys of the simulated optics obey together.

`checks.py` applies them to a configuration, before anything is built. The classes of `devices/opu/` apply them to their
arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dfa_cli.errors import DfaError

CLASSES = "dfa_cli.devices.opu."
EXPOSURE_SECONDS = 400e-6
SHORTEST_HOURS = 1e-9  # of a drift: 3.6 microseconds
# The arguments of a drift and their defaults. A YAML file of the user's own may leave keys out.
DRIFT = {"tau": None, "unit": "steps", "walk": 0.0, "jitter": 0.0}


def check_optics(device: Mapping[str, Any], choices: Mapping[str, str]) -> None:
    """Raise `DfaError` for keys of the simulated optics that do not go together. `choices`: of each group."""
    if device.get("_target_") != f"{CLASSES}OPU":
        return
    name, option = choices.get("device"), choices.get("device/readout")
    if option in device.get("no_reference_for", ()):
        raise DfaError(
            f"device={name} has no reference beam, which device/readout={option} needs. Leave the latter out, or "
            "choose device=opu_sim, which takes any read-out."
        )
    drift = device.get("drift") or {}
    if drift and "_target_" not in drift:
        raise DfaError(
            f"device.drift has {', '.join(drift)}, but device/drift is none. Leave this out, choose "
            "device/drift=medium, or add `override drift: medium` to the defaults of the device's file."
        )
    walks = bool(drift.get("walk") or drift.get("jitter"))
    if walks and device.get("no_reference_for"):
        raise DfaError(
            f"device={name} has no reference beam, so device.drift.walk and device.drift.jitter mean nothing. Choose "
            "device/drift=medium or none, or another device."
        )
    if drift.get("_target_") == f"{CLASSES}Drift":
        require_drift(*(drift.get(key, value) for key, value in DRIFT.items()))
    perfect = bool(device.get("perfect"))
    readout = str((device.get("readout") or {}).get("_target_"))
    require_effect(
        perfect=perfect,
        drifts=bool(drift),
        walks=walks,
        intensity=readout == f"{CLASSES}Intensity",
        linear=readout != f"{CLASSES}Intensity",
        exact=(device.get("encoding") or {}).get("_target_") == f"{CLASSES}Float",
        remove_sum=bool(device.get("remove_sum")),
    )
    # Nobody knows whether a read-out of the user's own has a camera. How long an automatic exposure is depends on the
    # light, so the device tells.
    exposure = (device.get("camera") or {}).get("exposure", "auto")
    if not perfect and readout.startswith(CLASSES) and readout != f"{CLASSES}Ideal" and exposure != "auto":
        full = (device.get("laser") or {}).get("exposure_seconds", EXPOSURE_SECONDS)
        require_exposure(device.get("frame_seconds", "auto"), full * float(exposure))


def require_drift(tau: float | None, unit: str, walk: float, jitter: float) -> None:
    """Raise `DfaError` for a drift that no frame can follow, or of nothing."""
    if tau is not None and unit == "hours" and tau < SHORTEST_HOURS:
        raise DfaError(
            f"device.drift.tau is {tau} hours. It must be at least {SHORTEST_HOURS} hours: within less, no "
            "frame is shown. Give a larger device.drift.tau, or device/drift=none."
        )
    if tau is None and not walk and not jitter:
        raise DfaError(
            "Nothing drifts: device.drift.tau is null, and device.drift.walk and device.drift.jitter are 0. Give "
            "one of them, or device/drift=none."
        )


def require_effect(
    *, perfect: bool, drifts: bool, walks: bool, intensity: bool, linear: bool, exact: bool, remove_sum: bool
) -> None:
    """Raise `DfaError` for a drift that changes nothing, and for a sum that cannot be removed.

    `walks`: the phase of the reference beam drifts. `intensity`: it is read by `Intensity`, which has no such beam.
    `exact`: the encoding is `Float`, which shows the error itself.
    """
    if perfect and drifts:
        raise DfaError(
            "device.perfect=true turns every imperfection off, so nothing would drift. Choose device/drift=none, or "
            "device.perfect=false."
        )
    if walks and intensity:
        raise DfaError(
            "device/readout=intensity has no reference beam, so device.drift.walk and device.drift.jitter change "
            "nothing. Choose device/drift=medium or none, or another device/readout."
        )
    if remove_sum and (perfect or exact):
        shows = "device.perfect=true" if perfect else "device/encoding=float"
        other = "device.perfect=false" if perfect else "another device/encoding"
        raise DfaError(
            f"{shows} shows the error itself, which adds no sum, so device.remove_sum=true has nothing to remove. "
            f"Choose device.remove_sum=false, or {other}."
        )
    if remove_sum and not linear:
        raise DfaError(
            "device.remove_sum needs a read-out that is linear in the error, and the chosen one (such as intensity) "
            "is not. Choose another device/readout, or device.remove_sum=false."
        )


def require_exposure(frame_seconds: float | str, exposure_seconds: float, is_automatic: bool = False) -> None:
    """Raise `DfaError` for a frame that is shorter than the exposure of the camera [s]."""
    if frame_seconds != "auto" and float(frame_seconds) < exposure_seconds:
        fixed = "" if is_automatic else " or device.camera.exposure"
        raise DfaError(
            f"device.frame_seconds is {float(frame_seconds):g}. A frame must not be shorter than the exposure of the "
            f"camera, {exposure_seconds:g} seconds: give that or more, or a smaller "
            f"device.laser.exposure_seconds{fixed}."
        )
