"""Triton's interpreter runs the kernels for CUDA on the CPU, where there is no card."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = ("tests/kernels/test_sparse_cuda.py", "tests/devices/opu/test_compiled_cuda.py")


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed here (pip install triton)"
)
def test_the_kernels_pass_their_tests_by_the_interpreter() -> None:
    version = importlib.metadata.version("triton")
    if tuple(map(int, version.split(".")[:2])) < (3, 9):
        pytest.skip(
            f"the interpreter of Triton {version} rounds a fused product and sum twice; 3.9 rounds it once"
        )
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *TESTS],
        cwd=ROOT,
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert " passed" in found.stdout
