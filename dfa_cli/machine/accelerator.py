"""Which accelerator this machine has. torch is imported only where it alone can tell: that takes a second."""

from __future__ import annotations

import sys
from pathlib import Path

from dfa_cli.errors import DfaError
from dfa_cli.machine.cpu import cpu_info

# device files of the drivers that torch's CUDA works with: NVIDIA, WSL, Jetson, ROCm
DRIVER_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/nvmap", "/dev/kfd")
BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")  # as Linux spells what a processor can do
NAMES = {"cpu": "processor", "cuda": "CUDA device", "mps": "MPS device"}


def resolve(where: str) -> str:
    """`auto` becomes `cuda` or `cpu`; every other name is returned, if this machine has what it names.

    Raises `DfaError` for CUDA or MPS where torch finds none.
    """
    if where == "cpu" or (where == "auto" and not has_driver()):
        return "cpu"
    import torch

    if where == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if where == "cuda" and not torch.cuda.is_available():
        raise DfaError(
            "CUDA was asked for, and torch finds none on this machine; use device=cpu or device=auto."
        )
    if where == "mps" and not torch.backends.mps.is_available():
        raise DfaError("compute=mps was asked for, and torch finds none on this machine; use compute=cpu.")
    return where


def has_driver() -> bool:
    """Whether there can be a CUDA device; `True` where the system does not tell."""
    if sys.platform == "darwin":
        return False
    return not sys.platform.startswith("linux") or any(Path(file).exists() for file in DRIVER_FILES)


def multiplies_bfloat16(compute: str) -> bool:
    """Whether products in bfloat16 have instructions of their own; `True` for a CPU that the system does not describe.

    Without them (AVX-512 BF16 or AMX, ARM's BF16) a processor computes the same numbers several times slower than
    in float32.
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
