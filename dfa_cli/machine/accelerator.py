"""Finds out which accelerator this machine has. It imports torch, which takes a second, only where it must."""

from __future__ import annotations

import sys
from pathlib import Path

from dfa_cli.errors import DfaError
from dfa_cli.machine.cpu import cpu_info

# the device files of the drivers that torch's CUDA works with: NVIDIA, WSL, Jetson, ROCm
DRIVER_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/nvmap", "/dev/kfd")
# the flags in /proc/cpuinfo of processors that multiply bfloat16
BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")
NAMES = {"cpu": "processor", "cuda": "CUDA device", "mps": "MPS device"}


def resolve(where: str) -> str:
    """Turns `auto` into `cuda` or `cpu`, and returns any other name if this machine has such a device.

    Raises `DfaError` for CUDA or MPS where torch finds none.
    """
    if where == "cpu" or (where == "auto" and not has_driver()):
        return "cpu"
    import torch

    if where == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if where == "cuda" and not torch.cuda.is_available():
        raise DfaError(
            "CUDA was asked for, and torch finds no CUDA device on this machine; use compute=auto and "
            "device=auto."
        )
    if where == "mps" and not torch.backends.mps.is_available():
        raise DfaError(
            "compute=mps was asked for, and torch finds no MPS device on this machine; use compute=cpu."
        )
    return where


def has_driver() -> bool:
    """Tells whether there can be a CUDA device; `True` where the system does not say."""
    if sys.platform == "darwin":
        return False
    return not sys.platform.startswith("linux") or any(Path(file).exists() for file in DRIVER_FILES)


def multiplies_tf32(compute: str) -> bool:
    """Tells whether the device multiplies 32-bit numbers rounded to 10 bits, as NVIDIA's cards do from Ampere on."""
    if compute != "cuda":
        return False
    import torch

    return torch.cuda.get_device_capability() >= (8, 0)


def multiplies_bfloat16(compute: str) -> bool:
    """Tells whether the device multiplies bfloat16 in hardware; `True` for a CPU that the system does not describe.

    A processor without such instructions (AVX-512 BF16, AMX, or ARM's BF16) computes the same numbers, but takes
    several times as long as for float32.
    """
    if compute == "cpu":
        info = cpu_info()
        return info is None or any(word in info.split() for word in BFLOAT16)
    import torch

    if compute == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        torch.zeros(1, dtype=torch.bfloat16, device=compute)
    except TypeError:
        return False
    return True
