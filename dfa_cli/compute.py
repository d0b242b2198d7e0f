"""Where a run computes, answered without importing torch where that is possible.

A sweep that only reuses what is there has to know what `auto` stands for, and torch takes a second to import.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

# device files of the drivers that torch's CUDA works with: NVIDIA, WSL, Jetson, ROCm
DRIVER_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/nvmap", "/dev/kfd")


def settle(config: dict[str, Any]) -> dict[str, Any]:
    """Every `auto` replaced by what this machine has. Raises `DfaError` when it lacks what was asked for."""
    device = dict(config["device"])
    if "where" in device:
        device["where"] = resolve(device["where"])
    compute = config["compute"]
    if compute == "auto":
        # a digital device trains where it projects; a simulated one, wherever is fastest
        compute = device.get("where") or resolve("auto")
    return {**config, "device": device, "compute": resolve(compute)}


def resolve(where: str) -> str:
    """`auto` to `cuda` or `cpu`; what needs torch to be answered is asked of it."""
    if where == "cpu" or (where == "auto" and not has_driver()):
        return "cpu"
    from dfa_cli.devices.digital import resolve as ask_torch

    return ask_torch(where)


def has_driver() -> bool:
    """Whether CUDA is worth asking for; `True` where the system does not tell."""
    if sys.platform == "darwin":
        return False
    return not sys.platform.startswith("linux") or any(Path(file).exists() for file in DRIVER_FILES)
