"""Tells whether kernels can be compiled for CUDA with Triton, which comes with torch where torch has CUDA."""

from __future__ import annotations

import functools
import importlib.util
import logging

import torch

log = logging.getLogger(__name__)


@functools.cache
def has_triton() -> bool:
    """Tell whether Triton is here and works. It is tried, since it needs a C compiler and a driver of its liking.

    Cards of AMD, and of NVIDIA before Ampere, are left to torch: the kernels were not written for them.
    """
    if importlib.util.find_spec("triton") is None or not torch.cuda.is_available():
        return False
    if torch.version.hip or torch.cuda.get_device_capability() < (8, 0):
        return False
    try:
        from dfa_cli.kernels import sparse_cuda

        starts = torch.arange(3, device="cuda")
        sparse_cuda.add_rows(starts, None, None, torch.ones(2, 1, device="cuda"))
    except Exception as error:  # noqa: BLE001  (whatever Triton lacks, torch's own operations do the work)
        log.warning("Triton does not work here, so torch's slower operations are used: %s", error)
        return False
    return True
