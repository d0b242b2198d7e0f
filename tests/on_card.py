"""Where the kernels of Triton are tested: on a card, or without one by Triton's interpreter, which is slow.

The interpreter is chosen before Triton is imported, so `tests/kernels/test_interpreted.py` starts a process for it.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Any

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

if INTERPRETED and importlib.util.find_spec("triton") is not None:
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle  # pyright: ignore[reportMissingImports]

    def fused(_: Any, x: Any, y: Any, z: Any) -> Any:
        """Round once, as a card does. The interpreter rounds the product too, and a root is then often one bit off."""
        exact = x.data.astype("float64") * y.data + z.data
        return TensorHandle(exact.astype(z.data.dtype), z.dtype.scalar)

    InterpreterBuilder.create_fma = fused
