"""Compiles the noise of the camera and of the statistical read-out for the CPU with numba.

torch takes a pass over the memory for each operation, and looks up normal numbers in one thread. Here a row stays in
the fastest cache from the first operation to the last, and rows are divided among threads. The numbers are those of
torch to within rounding, and the same for any number of threads.

Import this module only where it is used: numba takes half a second to load. The kernels are kept on disk once they
are compiled, where a folder for them can be written.
"""

# ruff: noqa: ANN001, ANN201  (numba infers the types of the kernels)

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from numba.core.caching import FunctionCache
from torch import Tensor

from dfa_cli.devices.opu.camera import Exposure
from dfa_cli.devices.opu.encoding import Frames
from dfa_cli.kernels.normal import quantiles
from dfa_cli.kernels.threads import in_threads

f32, u64 = np.float32, np.uint64
ONE, SIXTH = f32(1.0), f32(1 / 6)
STEP, FIRST, SECOND = u64(0x9E3779B97F4A7C15), u64(0xBF58476D1CE4E5B9), u64(0x94D049BB133111EB)


class Cache(FunctionCache):
    """Keeps compiled code on disk where that is possible. A file that cannot be read or written is done without."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # noqa: BLE001  (whatever a damaged file makes numba and pickle raise)
            with contextlib.suppress(Exception):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with contextlib.suppress(Exception):
            super().save_overload(sig, data)


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a function that neither holds Python's lock nor checks for a division by zero, which would be slow."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        compiled: Any = numba.njit(nogil=True, error_model="numpy", **options)(function)
        with contextlib.suppress(RuntimeError):  # no folder for the files can be written
            compiled._cache = Cache(function)
        return compiled

    return decorate


@kernel()
def draw_words(words, key):
    """Fill `words` with random bits: SplitMix64 (Steele, Lea and Flood 2014), which starts at `key`."""
    for k in range(len(words)):
        x = key + u64(k + 1) * STEP
        x = (x ^ (x >> u64(30))) * FIRST
        x = (x ^ (x >> u64(27))) * SECOND
        words[k] = x ^ (x >> u64(31))


@kernel()
def look_up(words, quantiles, z):
    draws = words.view(np.uint16)
    for j in range(len(z)):
        z[j] = quantiles[draws[j]]


@kernel()
def draw_rows(keys, quantiles, z, first, last):
    words = np.empty((z.shape[1] + 3) // 4, u64)
    for i in range(first, last):
        draw_words(words, keys[i])
        look_up(words, quantiles, z[i])


@kernel()
def count_dim(light, gain, below, counts, first, last):
    for i in range(first, last):
        row, dim = light[i], 0
        for j in range(len(row)):
            dim += row[j] * gain < below
        counts[i] = dim


@kernel()
def gather_dim(light, gain, below, starts, means, first, last):
    for i in range(first, last):
        row, k = light[i], starts[i]
        if k < starts[i + 1]:
            for j in range(len(row)):
                if row[j] * gain < below:
                    means[k] = row[j] * gain
                    k += 1


@kernel()
def put_exact(row, gain, below, exact, light):
    """Put the exact numbers of dim pixels into `row`. `light`: of the row."""
    k = 0
    for j in range(len(row)):
        if light[j] * gain < below:
            row[j] = exact[k]
            k += 1


@kernel()
def expose(row, z, gain, shot, read_variance):
    """Turn intensities into photoelectrons, as `Camera._skewed_normal` does. Without shot noise, `shot` is 0."""
    for j in range(len(row)):
        mean = row[j] * gain
        shot_variance = mean * shot
        variance = shot_variance + read_variance
        skew = SIXTH * (z[j] * z[j] - ONE)
        row[j] = mean + np.sqrt(variance) * z[j] + skew * (shot_variance / variance)


@kernel()
def count_full(row, ceiling):
    full = 0
    for j in range(len(row)):
        full += row[j] >= ceiling
    return full


@kernel()
def digitise(row, ceiling, levels, height):
    """Turn photoelectrons into grey levels of that height, of which there are so many in a photoelectron."""
    for j in range(len(row)):
        electrons = row[j]
        row[j] = np.rint((ceiling if electrons > ceiling else electrons) * levels) * height


@kernel()
def clip(row, ceiling, height):
    for j in range(len(row)):
        electrons = row[j]
        row[j] = (ceiling if electrons > ceiling else electrons) * height


@kernel()
def image_rows(
    light,
    keys,
    quantiles,
    starts,
    exact,
    below,
    gain,
    shot,
    read_variance,
    ceiling,
    levels,
    height,
    saturated,
    first,
    last,
):
    z, words = np.empty(light.shape[1], f32), np.empty((light.shape[1] + 3) // 4, u64)
    before = np.empty(light.shape[1], f32)
    for i in range(first, last):
        row, dim = light[i], starts[i + 1] > starts[i]
        draw_words(words, keys[i])
        look_up(words, quantiles, z)
        if dim:
            before[:] = row
        expose(row, z, gain, shot, read_variance)
        if dim:
            put_exact(row, gain, below, exact[starts[i] :], before)
        saturated[i] = count_full(row, ceiling)
        if levels > 0:
            digitise(row, ceiling, levels, height)
        else:
            clip(row, ceiling, height)


@kernel(fastmath={"reassoc"})
def mean(row):
    total = f32(0.0)
    for j in range(len(row)):
        total += row[j]
    return total / f32(len(row))


@kernel()
def add_pattern(real, imaginary, weight, square, values, energy, light):
    for j in range(len(values)):
        light[j] = real[j] * real[j] + imaginary[j] * imaginary[j]
        energy[j] += square * light[j]
        values[j] += weight * real[j]


@kernel()
def perturb(values, energy, z, gain, fixed, by_signal, scale):
    for j in range(len(values)):
        values[j] = (values[j] * gain + np.sqrt(fixed + by_signal * energy[j]) * z[j]) * scale


@kernel()
def read_rows(field, weights, shown, moments, scale, ceiling, keys, quantiles, values, full, first, last):
    gain, by_frame, by_signal, by_mean, by_squared_mean = moments
    patterns, _, _, n_out = field.shape
    light, energy, z = np.empty(n_out, f32), np.empty(n_out, f32), np.empty(n_out, f32)
    words = np.empty((n_out + 3) // 4, u64)
    for i in range(first, last):
        values[i] = 0
        energy[:] = 0
        fixed = f32(0.0)
        for p in range(patterns):
            weight = weights[p, i]
            square = weight * weight
            add_pattern(field[p, i, 0], field[p, i, 1], weight, square, values[i], energy, light)
            average = mean(light)
            fixed += square * (shown[p, i] * by_frame + average * (by_mean + average * by_squared_mean))
            full[i] += count_full(light, ceiling)
        draw_words(words, keys[i])
        look_up(words, quantiles, z)
        perturb(values[i], energy, z, gain, fixed, by_signal, scale[i, 0])


def draw_keys(rows: int, noise: torch.Generator) -> np.ndarray:
    """Draw a key for each row. A row has a stream of random numbers of its own, so threads can share the rows."""
    return torch.empty(rows, dtype=torch.int64).random_(-(2**63), None, generator=noise).numpy().view(u64)


def normal_rows(keys: np.ndarray, n: int) -> Tensor:
    """Return the standard normal numbers `[rows, n]` of these keys."""
    z = torch.empty(len(keys), n)
    in_threads(functools.partial(draw_rows, keys, quantiles().numpy(), z.numpy()), len(keys))
    return z


def take_image(
    light: Tensor,
    exposure: Exposure,
    shot_noise: bool,
    read_noise: float,
    noise: torch.Generator,
    exact_below: float,
    draw_exact: Callable[[Tensor, torch.Generator], Tensor],
) -> Tensor:
    """Do the work of `Camera.measure`.

    Overwrites `light` `[..., pixels]` by the measured intensity, and returns the number of saturated pixels of each
    image `[...]`. `draw_exact` draws the photoelectrons of the pixels that expect fewer than `exact_below`.
    """
    gain, step = exposure.gain, exposure.step
    rows = light.view(-1, light.shape[-1])
    saturated = torch.empty(len(rows), dtype=torch.int64)
    keys = draw_keys(len(rows), noise)
    dim = rows.numpy(), f32(gain), f32(exact_below)
    starts = np.zeros(len(rows) + 1, np.int64)
    in_threads(functools.partial(count_dim, *dim, starts[1:]), len(rows))
    np.cumsum(starts, out=starts)
    exact = torch.empty(int(starts[-1]))
    if len(exact):
        in_threads(functools.partial(gather_dim, *dim, starts, exact.numpy()), len(rows))
        exact = draw_exact(exact, noise)
    arguments = (
        *(rows.numpy(), keys, quantiles().numpy(), starts, exact.numpy()),
        *map(f32, (exact_below, gain, float(shot_noise), read_noise**2, exposure.range)),
        *map(f32, (1 / step, step / gain) if step else (0.0, 1 / gain)),
        saturated.numpy(),
    )
    in_threads(functools.partial(image_rows, *arguments), len(rows))
    return saturated.view(light.shape[:-1])


def read_statistically(
    field: Tensor, frames: Frames, moments: tuple[float, ...], ceiling: float, keys: np.ndarray
) -> tuple[Tensor, bool]:
    """Do the work of `Statistical.read` for light below `ceiling`.

    Returns the values `[rows, n_out]`, and whether the light stays below it. `moments`: the gain of the read-out, and
    its variance by pattern, by the signal, by the mean signal and by its square.
    """
    patterns, rows, _, n_out = field.shape
    weights, full = np.empty((patterns, rows), f32), np.zeros(rows, np.int64)
    for row, weight in zip(weights, frames.weights, strict=True):
        row[:] = weight.squeeze(1).numpy() if isinstance(weight, Tensor) else weight
    values = torch.empty(rows, n_out)
    # Contiguous arrays, so that one compiled kernel takes them all, and loops over them fast.
    light, shown, scale = (tensor.contiguous().numpy() for tensor in (field, frames.shown, frames.scale))
    arguments = (
        *(light, weights, shown, tuple(map(f32, moments)), scale),
        *(f32(ceiling), keys, quantiles().numpy(), values.numpy(), full),
    )
    in_threads(functools.partial(read_rows, *arguments), rows)
    return values, not full.any()


def load(statistical: bool) -> None:
    """Load the kernels that a read-out needs, or compile them, which takes a second and is no part of training."""
    noise, one = torch.Generator(), torch.ones(1, 1)
    if statistical:
        frames, keys = Frames(torch.ones(1, 1, 1), one, weights=(1.0,), scale=one), draw_keys(1, noise)
        read_statistically(torch.ones(1, 1, 2, 1), frames, (1.0,) * 5, 9.0, keys)
        normal_rows(keys, 1)
    else:
        take_image(
            torch.ones(1, 1), Exposure(1.0, 1000.0, 1.0), True, 1.0, noise, 2.0, lambda means, _: means
        )
