"""Which accelerator this machine has, answered without importing torch where that is possible."""

from __future__ import annotations

import sys
from pathlib import Path

from dfa_cli.machine.cpu import CPU_INFO

# device files of the drivers that torch's CUDA works with: NVIDIA, WSL, Jetson, ROCm
DRIVER_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/dxg", "/dev/nvmap", "/dev/kfd")
BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")  # as Linux spells what a processor can do
NAMES = {"cpu": "processor", "cuda": "CUDA device", "mps": "MPS device"}


def resolve(where: str) -> str:
    """`auto` to `cuda` or `cpu`; what needs torch to be answered is asked of it."""
    if where == "cpu" or (where == "auto" and not has_driver()):
        return "cpu"
    from dfa_cli.devices.digital import resolve as ask_torch

    return ask_torch(where)


def multiplies_bfloat16(compute: str) -> bool:
    """Whether products in bfloat16 have instructions of their own; `True` for a CPU that the system does not describe.

    Without them (AVX-512 BF16 or AMX, ARM's BF16) a processor computes the same numbers several times slower than
    in float32.
    """
    if compute == "cpu":
        return not CPU_INFO.exists() or any(word in CPU_INFO.read_text().split() for word in BFLOAT16)
    import torch

    if compute == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    try:
        torch.zeros(1, dtype=torch.bfloat16, device=compute)
    except TypeError:
        return False
    return True


def has_driver() -> bool:
    """Whether CUDA is worth asking for; `True` where the system does not tell."""
    if sys.platform == "darwin":
        return False
    return not sys.platform.startswith("linux") or any(Path(file).exists() for file in DRIVER_FILES)
