"""Where the kernels of Triton are tested: on a card, or without one by Triton's interpreter, which is slow.

The interpreter is chosen before Triton is imported, so `tests/kernels/test_interpreted.py` starts a process for it.
"""

from __future__ import annotations

import importlib.util
import os

import pytest
import torch

CARD = torch.cuda.is_available()
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = torch.device("cpu" if INTERPRETED or not CARD else "cuda")

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None or not (CARD or INTERPRETED),
    reason="a kernel for CUDA runs on a card, or by Triton's interpreter in tests/kernels/test_interpreted.py",
)
needs_card = pytest.mark.skipif(not CARD, reason="torch finds no CUDA device here")
