"""Compares the simulated optical device with a stored complex matrix, each in processes of its own."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from dfa_cli.benchmark.measure import Memory
from dfa_cli.devices.opu import OPU, Procedural, Ternary
from studies.performance.page import Section
from studies.performance.rounds import add_times, median, process, speedup

N_IN, N_OUT, ROWS = 1_000, 100_000, 256
THRESHOLD = 0.1  # of a row's largest entry; lower than the default, so that more mirrors are on
BATCHES = 3  # timed batches, after one that is not timed
STORED, DRAWN = "stored complex matrix", "drawing the complex matrix, then multiplying"
SIMULATED = "opu_sim"


def stored(n_in: int, n_out: int) -> Callable[[Tensor], object]:
    """Project as lightonml's simulated device does: `|frames M|^2` with a stored complex Gaussian matrix `M`.

    NumPy draws the matrix (`RandomState.normal`) and multiplies (`np.dot`). Each error becomes two binary patterns, one
    for the +1 and one for the -1, as on the device. This code was written from the description of lightonml's class,
    not copied from it.
    """
    draws = np.random.RandomState(0)
    deviation = n_in**-0.5
    real = draws.normal(0.0, deviation, (n_in, n_out)).astype(np.float32)
    imaginary = draws.normal(0.0, deviation, (n_in, n_out)).astype(np.float32)
    matrix = real + 1j * imaginary
    del real, imaginary

    def project(error: Tensor) -> object:
        e = error.numpy()
        edge = THRESHOLD * np.abs(e).max(1, keepdims=True)
        frames = np.concatenate([e > edge, e < -edge]).astype(np.uint8)
        return np.abs(np.dot(frames, matrix)) ** 2

    return project


def simulated(n_in: int, n_out: int) -> Callable[[Tensor], object]:
    # medium=auto would choose Procedural at this size, but not at the small size of the warm-up.
    device = OPU(encoding=Ternary(THRESHOLD), medium=Procedural())
    device.prepare(n_in, n_out, torch.device("cpu"))
    return device.project


def softmax_errors(draws: torch.Generator) -> Tensor:
    """Draw errors as a rule projects them, from a softmax over N_IN classes. Few components exceed the threshold."""
    error = torch.softmax(2 * torch.randn(ROWS, N_IN, generator=draws), 1)
    error[torch.arange(ROWS), torch.randint(N_IN, (ROWS,), generator=draws)] -= 1
    return error / ROWS


def gaussian_errors(draws: torch.Generator) -> Tensor:
    """Draw Gaussian errors. Three components in four exceed the threshold."""
    return torch.randn(ROWS, N_IN, generator=draws)


CONTENDERS = {STORED: stored, SIMULATED: simulated}
ERRORS = {"errors of a softmax": softmax_errors, "Gaussian errors": gaussian_errors}


def measure(name: str) -> None:
    """Print the seconds to prepare and to project a batch, and the memory above that of the imports, as JSON."""
    draws = torch.Generator().manual_seed(0)
    CONTENDERS[name](16, 4096)(torch.randn(4, 16, generator=draws))  # warm-up: compiles, starts the threads
    memory = Memory()
    began = time.perf_counter()
    project = CONTENDERS[name](N_IN, N_OUT)
    found = {"prepare": time.perf_counter() - began}
    for kind, draw in ERRORS.items():
        error = draw(draws)
        found[kind] = median([_seconds(project, error) for _ in range(1 + BATCHES)][1:])
    found["memory_mb"] = memory.grown_mb()
    sys.stdout.write(json.dumps(found) + "\n")


def _seconds(project: Callable[[Tensor], object], error: Tensor) -> float:
    began = time.perf_counter()
    project(error)
    return time.perf_counter() - began


def projection(rounds: int) -> Section:
    section = Section(
        f"Projection, {N_IN:,} x {N_OUT:,}, batch {ROWS}",
        "Both simulations project a batch of errors, after a first batch that is not timed. Each error is shown "
        "as two binary patterns. `opu_sim` computes the coefficients of the matrix when they are needed, and simulates "
        "the noise of the camera. The other simulation does what lightonml's does: NumPy draws a complex matrix, "
        "stores it and multiplies by it, and the intensities have no noise. The two run in turns, each in processes of "
        "its own. The time of `opu_sim` depends on how many components of an error are above the threshold. That of "
        "the other does not.",
    )
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    for _ in range(min(rounds, 3)):
        for name, measured in found.items():
            measured.append(json.loads(process("-m", __spec__.name, name).output.splitlines()[-1]))
    for kind in ERRORS:
        times = {name: [one[kind] for one in each] for name, each in found.items()}
        times[DRAWN] = [one["prepare"] + one[kind] for one in found[STORED]]
        add_times(section, times, STORED, f"{kind}, seconds a batch", 1.0)
        for against in (DRAWN, STORED):
            section.at_least(f"{kind}, times as fast as {against}", speedup(times, SIMULATED, against), 5)
    peaks = {name: median([one["memory_mb"] for one in each]) for name, each in found.items()}
    section.table(("memory above the imports", "MB"), [[name, f"{peak:.0f}"] for name, peak in peaks.items()])
    section.at_most(f"memory, as a share of that of {STORED}", peaks[SIMULATED] / peaks[STORED], 0.25, "")
    return section


if __name__ == "__main__":
    measure(sys.argv[1])
