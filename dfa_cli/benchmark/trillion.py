"""Runs one whole projection of 10^12 coefficients, and checks the result."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from scipy import stats

from dfa_cli.benchmark.measure import Memory
from dfa_cli.console.values import duration
from dfa_cli.devices.optics import POWER_WATTS, seconds_of_a_vector
from dfa_cli.devices.opu.media.procedural import Procedural
from dfa_cli.devices.opu.media.structured import Structured

SIZE = 10**6
AT_ONCE = 1 << 14  # modes between two lines of progress
SPOT_CHECKS = 8
SEED = 1


def project(n_in: int, n_out: int, write_sentence: Callable[[str], None]) -> dict[str, Any]:
    """Project one random vector, check the result, and return the measured figures.

        y = x Re T,   x of +-1,   T [n_in, n_out] of the procedural medium

    Among the returned figures are:

    - `norm_ratio`: `|y|^2 / (n_out |x|^2)`, which is 1 within `sqrt(2 / n_out)`.
    - `kolmogorov_p`: the p-value of Kolmogorov's test of `y / |x|` against the standard normal distribution.
    - `processor_seconds`: processor time of all threads, which other work on the machine does not lengthen.
    - `spot_error`: the largest error of a few modes, divided by `|x|`. Each of them is computed again, alone, by torch.
    - `modelled_optics_*`: what the modelled optics would take, with a frame for the +1 and one for the -1.
    - `structured_*`: the same figures for the same vector and the structured medium.

    `write_sentence` gets the lines of progress.
    """
    draws = torch.Generator().manual_seed(SEED)
    x = torch.randint(0, 2, (1, n_in), generator=draws).float().mul_(2).sub_(1)
    medium = Procedural()
    medium.prepare(n_in, n_out, SEED, torch.device("cpu"))
    next(medium.fields_at(x, False, [(0, 1)]))  # compiles the kernels, which is not measured
    memory = Memory()

    y = torch.empty(n_out)
    started, processor_started = time.perf_counter(), time.process_time()
    spans = [(first, min(first + AT_ONCE, n_out)) for first in range(0, n_out, AT_ONCE)]
    for field, (first, last) in zip(medium.fields_at(x, False, spans), spans, strict=True):
        y[first:last] = field[0, 0]
        seconds = time.perf_counter() - started
        rate, to_go = last * n_in / seconds / 1e9, seconds * (n_out - last) / last
        write_sentence(
            f"{last / n_out:7.2%}  {last * n_in:.3g} coefficients in {duration(seconds)}, "
            f"{rate:.2f} billion a second, {duration(to_go)} to go"
        )
    seconds, processor_seconds = time.perf_counter() - started, time.process_time() - processor_started
    memory_mb = memory.grown_mb()

    all_rows = torch.arange(n_in)
    spots = torch.randint(0, n_out, (SPOT_CHECKS,), generator=draws)
    errors = []
    for spot in spots.tolist():
        total = 0.0
        for rows in all_rows.split(1 << 20):
            total += float(
                x[0, rows].double() @ medium.entries(rows, torch.tensor([spot])).real.double()[:, 0]
            )
        errors.append(abs(total - float(y[spot])) / math.sqrt(n_in))

    fast = Structured()
    fast.prepare(n_in, n_out, SEED, torch.device("cpu"))
    fast.fields(x, imaginary=False)  # the first call is not measured
    structured_started = time.perf_counter()
    structured = fast.fields(x, imaginary=False)[0, 0]
    structured_seconds = time.perf_counter() - structured_started
    optics_seconds = seconds_of_a_vector(n_out, patterns=2)
    return {
        "n_in": n_in,
        "n_out": n_out,
        "coefficients": n_in * n_out,
        "seconds": seconds,
        "coefficients_per_second": n_in * n_out / seconds,
        "processor_seconds": processor_seconds,
        "threads": torch.get_num_threads(),
        "memory_mb": memory_mb,
        "norm_ratio": float(y.double().square().sum()) / n_out / n_in,
        "norm_ratio_deviation": math.sqrt(2 / n_out),
        "kolmogorov_p": float(stats.kstest(y.numpy() / math.sqrt(n_in), "norm").pvalue),
        "spot_checks": SPOT_CHECKS,
        "spot_error": max(errors),
        "modelled_optics_seconds": optics_seconds,
        "modelled_optics_joules": optics_seconds * POWER_WATTS,
        "structured_seconds": structured_seconds,
        "structured_norm_ratio": float(structured.double().square().sum()) / n_out / n_in,
        "structured_kolmogorov_p": float(stats.kstest(structured.numpy() / math.sqrt(n_in), "norm").pvalue),
    }
