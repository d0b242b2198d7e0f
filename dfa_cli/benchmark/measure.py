"""One device at several sizes, measured in a process of its own, so that its memory is its own.

`python -m dfa_cli.benchmark.measure '{"device": "procedural", "sizes": [[1000, 1000]], "vectors": 1}'`
prints a line of JSON for each size as soon as it is known.
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

LEAST_SECONDS = 0.2  # a shorter measurement is repeated
SEED = 1

Prepared = Callable[[np.ndarray], object]


def draw_store_multiply(n_in: int, n_out: int) -> Prepared:
    """What needs no library: draw a complex Gaussian matrix with NumPy, store it, multiply; all of it each
    time."""

    def project(vectors: np.ndarray) -> object:
        draws = np.random.default_rng(SEED)
        matrix = np.empty((n_in, n_out), np.complex64)
        matrix.real = draws.standard_normal((n_in, n_out), np.float32)
        matrix.imag = draws.standard_normal((n_in, n_out), np.float32)
        return vectors @ matrix

    return project


def stored(n_in: int, n_out: int) -> Prepared:
    """The digital device: a real matrix drawn once, beforehand; the product alone is measured."""
    matrix = torch.randn(n_in, n_out, generator=torch.Generator().manual_seed(SEED))
    return lambda vectors: torch.from_numpy(vectors) @ matrix


def procedural(n_in: int, n_out: int) -> Prepared:
    """Complex coefficients, computed while they are multiplied."""
    medium = Procedural()
    medium.prepare(n_in, n_out, SEED, torch.device("cpu"))
    return lambda vectors: medium.fields(torch.from_numpy(vectors), imaginary=True)


def structured(n_in: int, n_out: int) -> Prepared:
    """The complex field by six fast Hadamard transforms."""
    medium = Structured()
    medium.prepare(n_in, n_out, SEED, torch.device("cpu"))
    return lambda vectors: medium.fields(torch.from_numpy(vectors), imaginary=True)


DEVICES = {"numpy": draw_store_multiply, "cpu": stored, "procedural": procedural, "structured": structured}


def measure(device: str, sizes: list[tuple[int, int]], vectors: int) -> None:
    """Write `{"n_in", "n_out", "seconds", "memory_mb"}` of one projection of `vectors` vectors at each size.

    `seconds` is the shortest of the repetitions. `memory_mb` is the highest resident memory so far above that
    after the imports and a first small projection.
    """
    _warm_up(DEVICES[device], vectors)
    memory = Memory()
    for n_in, n_out in sizes:
        project = DEVICES[device](n_in, n_out)
        signs = np.random.default_rng(SEED).choice(np.array([-1, 1], np.float32), (vectors, n_in))
        times: list[float] = []
        while not times or (sum(times) < LEAST_SECONDS and len(times) < 50):
            started = time.perf_counter()
            project(signs)
            times.append(time.perf_counter() - started)
        found: dict[str, Any] = {"n_in": n_in, "n_out": n_out, "seconds": min(times)}
        found["memory_mb"] = memory.grown_mb()
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


def _warm_up(device: Callable[[int, int], Prepared], vectors: int) -> None:
    """Compile, start the threads: none of it belongs to a projection."""
    device(64, 4096)(np.ones((vectors, 64), np.float32))


class Memory:
    """The highest resident memory since it was made, above that at the time."""

    def __init__(self) -> None:
        reset_peak_memory()
        self._before = peak_bytes() or 0

    def grown_mb(self) -> float:
        return max(0.0, ((peak_bytes() or 0) - self._before) / 1e6)


if __name__ == "__main__":
    case = json.loads(sys.argv[1])
    measure(case["device"], [(n_in, n_out) for n_in, n_out in case["sizes"]], case["vectors"])
