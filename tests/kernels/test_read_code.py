"""Triton compiles the kernels for cards that are not here, and the code that it made is read.

The interpreter cannot show what only a compiler does: fuse a product with a sum, spill registers, add with atomics.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("triton") is None, reason="Triton is not installed here (pip install triton)"
    ),
    pytest.mark.skipif(
        os.environ.get("TRITON_INTERPRET") == "1",
        reason="Triton's interpreter runs here, which compiles nothing",
    ),
]

A100, H100, B200 = 80, 90, 100  # compute capabilities
Compile = Callable[[int, Callable[[], Any]], list[Any]]


class Driver:
    """What Triton asks the driver of a card."""

    def __init__(self, capability: int):
        self._capability = capability

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", self._capability, 32)

    def get_current_device(self) -> int:
        return -self._capability  # no card that is here, whose kernels stay as they are

    def get_current_stream(self, device: int) -> int:
        return 0


@pytest.fixture
def compile_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Compile:
    """Return a function that compiles the kernels which a function launches. Nothing is launched."""
    import triton

    from dfa_cli.devices.opu.media import compiled_cuda

    kernels = []
    run = triton.JITFunction.run

    def only_compile(self: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> None:
        kernels.append(run(self, *args, grid=grid, warmup=True, **options))

    def compile_for(capability: int, launch: Callable[[], Any]) -> list[Any]:
        monkeypatch.setattr(triton.runtime.driver, "_active", Driver(capability))
        monkeypatch.setattr(compiled_cuda, "_is_hopper", lambda device: capability == H100)
        launch()
        return kernels

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(triton.JITFunction, "run", only_compile)
    return compile_for


def instructions(kernel: Any) -> Counter[str]:
    """Count the instructions on numbers of 32 bits by name. One on two numbers at once counts twice."""
    found = re.findall(r"\b(fma|mul|add|sub|rsqrt)\.([a-z.]*)f32(x2)?\b", kernel.asm["ptx"])
    counts: Counter[str] = Counter()
    for name, how, twice in found:
        assert name == "rsqrt" or how == "rn.", "the assembler may fuse it, or tiny numbers become zero"
        counts[name] += 2 if twice else 1
    return counts


def spilled(kernel: Any, tmp_path: Path) -> int:
    """Return the bytes of a thread that are not in registers."""
    import triton

    (tmp_path / "kernel.cubin").write_bytes(kernel.asm["cubin"])
    tool = Path(str(triton.__file__)).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    said = subprocess.run(
        [tool, "--dump-resource-usage", tmp_path / "kernel.cubin"], capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"STACK:(\d+)", said)
    assert found is not None, said
    return int(found[1])


@pytest.mark.parametrize("imaginary", [False, True], ids=["real", "complex"])
@pytest.mark.parametrize("vectors", [1, 64, 256])
@pytest.mark.parametrize("card", [A100, H100, B200])
def test_the_medium(card: int, vectors: int, imaginary: bool, compile_for: Compile, tmp_path: Path) -> None:
    from dfa_cli.devices.opu.media import compiled_cuda

    def launch() -> None:
        keys, out = torch.zeros(700, 3, dtype=torch.int32), torch.empty(vectors, 1 + imaginary, 3000)
        compiled_cuda.product(keys, torch.ones(vectors, 700))(0, out)

    (kernel,) = compile_for(card, launch)
    ptx = kernel.asm["ptx"]
    assert not re.search(r"\b(atom|red)\.", ptx)
    assert "trap;" not in ptx, "the card has too little of some memory"
    counts = instructions(kernel)
    # Two of the root and one of the angle are written out, and those that add up. Any other was fused by the compiler.
    sums = 1 + imaginary if vectors == 1 else 0
    assert counts["fma"] == (3 + sums) * counts["rsqrt"] > 0
    if (
        card != B200
    ):  # There Triton takes a loop apart, and the complex kernel for one vector spills two numbers.
        assert spilled(kernel, tmp_path) == 0
        assert counts["rsqrt"] == 16, "a coefficient is computed more than once, or the tile is another one"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_sums_of_rows(dtype: torch.dtype, compile_for: Compile, tmp_path: Path) -> None:
    from dfa_cli.kernels import sparse_cuda

    starts, columns = torch.arange(2709) * 5, torch.zeros(13540, dtype=torch.int64)
    values, dense = torch.ones(13540, dtype=dtype), torch.ones(2708, 64, dtype=dtype)
    (kernel,) = compile_for(H100, lambda: sparse_cuda.add_rows(starts, columns, values, dense))
    assert not re.search(r"\b(atom|red)\.", kernel.asm["ptx"])
    assert spilled(kernel, tmp_path) == 0


def test_a_launch_has_no_more_columns_than_31_bits_count() -> None:
    from dfa_cli.devices.opu.media.compiled_cuda import _pieces

    out = torch.empty(1, 1, 2**32, device="meta")
    ends = [(first, last) for first, last, _ in _pieces(1, out)]
    assert [first for first, _ in ends[1:]] == [last for _, last in ends[:-1]]
    assert (ends[0][0], ends[-1][1]) == (0, 2**32)
    assert max(last - first for first, last in ends) < 2**31
