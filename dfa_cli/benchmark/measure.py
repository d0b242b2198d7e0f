"""Measures the time and memory of one device at several sizes. `dfa bench` runs this module as a process.

A separate process is used so that the measured memory contains nothing of other devices.

`python -m dfa_cli.benchmark.measure '{"device": "procedural", "sizes": [[1000, 1000]], "vectors": 1}'`
prints a line of JSON for each size as soon as it is measured.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from dfa_cli.devices.opu.media.procedural import Procedural
from dfa_cli.devices.opu.media.structured import Structured
from dfa_cli.machine.memory import peak_bytes, reset_peak_memory

MIN_SECONDS = 0.2  # a projection is repeated until its repetitions have taken this long, or 50 times
SEED = 1

Projection = Callable[[np.ndarray], object]


def draw_store_multiply(n_in: int, n_out: int) -> Projection:
    """Draw a complex Gaussian matrix with NumPy, store it and multiply, as one does without a library.

    Every projection draws the matrix again.
    """

    def project(vectors: np.ndarray) -> object:
        draws = np.random.default_rng(SEED)
        matrix = np.empty((n_in, n_out), np.complex64)
        matrix.real = draws.standard_normal((n_in, n_out), np.float32)
        matrix.imag = draws.standard_normal((n_in, n_out), np.float32)
        return vectors @ matrix

    return project


def multiply_stored(n_in: int, n_out: int) -> Projection:
    """Multiply with a stored real matrix, as the digital device does. Drawing the matrix is not measured."""
    matrix = torch.randn(n_in, n_out, generator=torch.Generator().manual_seed(SEED))
    return lambda vectors: torch.from_numpy(vectors) @ matrix


def procedural(n_in: int, n_out: int) -> Projection:
    """Compute complex coefficients while multiplying with them (`Procedural`)."""
    medium = Procedural()
    medium.prepare(n_in, n_out, SEED, torch.device("cpu"))
    return lambda vectors: medium.fields(torch.from_numpy(vectors), imaginary=True)


def structured(n_in: int, n_out: int) -> Projection:
    """Compute the complex field by six fast Hadamard transforms (`Structured`)."""
    medium = Structured()
    medium.prepare(n_in, n_out, SEED, torch.device("cpu"))
    return lambda vectors: medium.fields(torch.from_numpy(vectors), imaginary=True)


DEVICES = {
    "numpy": draw_store_multiply,
    "cpu": multiply_stored,
    "procedural": procedural,
    "structured": structured,
}


def measure(device: str, sizes: list[tuple[int, int]], vectors: int) -> None:
    """Measure one projection of `vectors` vectors at each size, and print the results as lines of JSON.

    A line is `{"n_in", "n_out", "seconds", "memory_mb"}`. `seconds` is the shortest of the repetitions.
    `memory_mb` is the peak resident memory so far, minus the memory after the imports and a first small
    projection.
    """
    _warm_up(DEVICES[device], vectors)
    memory = Memory()
    for n_in, n_out in sizes:
        project = DEVICES[device](n_in, n_out)
        signs = np.random.default_rng(SEED).choice(np.array([-1, 1], np.float32), (vectors, n_in))
        times: list[float] = []
        while not times or (sum(times) < MIN_SECONDS and len(times) < 50):
            started = time.perf_counter()
            project(signs)
            times.append(time.perf_counter() - started)
        result: dict[str, Any] = {"n_in": n_in, "n_out": n_out, "seconds": min(times)}
        result["memory_mb"] = memory.grown_mb()
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()


def _warm_up(device: Callable[[int, int], Projection], vectors: int) -> None:
    """Do a small projection first, so that compiling kernels and starting threads are not measured."""
    device(64, 4096)(np.ones((vectors, 64), np.float32))


class Memory:
    """Measures how far the peak resident memory has grown since the object was made."""

    def __init__(self) -> None:
        reset_peak_memory()
        self._before = peak_bytes() or 0

    def grown_mb(self) -> float:
        return max(0.0, ((peak_bytes() or 0) - self._before) / 1e6)


if __name__ == "__main__":
    case = json.loads(sys.argv[1])
    measure(case["device"], [(n_in, n_out) for n_in, n_out in case["sizes"]], case["vectors"])
