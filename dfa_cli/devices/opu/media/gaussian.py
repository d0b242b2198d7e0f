"""Computes the entries of a complex Gaussian matrix from the seed of the matrix, each entry without the others.

The random generator is counter-based. SplitMix64 of seed and row gives a key for each row. For each column, two rounds
of multiply and xor-shift of 32 bits mix the column into the key. A third round then gives the 23 bits of a radius.
A different third round gives the 24 bits of an angle. The transform of Box and Muller,

    t = sqrt(-2 ln u) exp(2 pi i v),

gives a circular complex Gaussian number, whose real and imaginary parts have unit variance. The radius reaches 5.77.

Logarithm, sine and cosine are polynomials in single precision (error below 2e-6). They use additions and
multiplications only, so that every processor gives the same bits. `compiled.py` holds the same arithmetic for
numba; a test compares the two.

Sources: Salmon et al. 2011 (counter-based generators); Steele et al. 2014 (SplitMix). The constants of the 32-bit
rounds are from "triple32" by C. Wellons.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

WEYL = 0x9E3779B1
ROUNDS = (0xED5AD4BB, 0xAC4C1B51, 0x31848BAB)
ANGLE_ROUND = 0x846CA68B
BITS_OF_ROOT_HALF = 0x3F3504F3
BITS_OF_ONE = 0x3F800000
MINUS_TWO_LN2 = -1.3862943611198906
# -2 ln(1 + f) / f on [sqrt(1/2) - 1, sqrt(2) - 1]; sin(pi/2 x) / x and cos(pi/2 x) in powers of x^2 on [0, 1]
LOG = (-2.00000206, 1.00001754, -0.66627126, 0.49840672, -0.41050872, 0.3714772, -0.23315612)
SIN = (1.57079513, -0.64592572, 0.07950001, -0.00437059)
COS = (0.999999953, -1.2336982, 0.253650674, -0.0208105152, 0.000858134467)
MAX_COLUMNS = 1 << 32  # a column is counted in 32 bits


def row_keys(seed: int, rows: Tensor) -> Tensor:
    """Compute the keys of `rows` (int64 `[n]`). Returns int32 `[n, 3]` on the device of `rows`."""
    # The seed is mixed alone first. Otherwise row i of one seed would equal row i + 1 of the seed before it.
    start = _mix64(torch.tensor(_as_signed(seed, 64))).item()
    first = _mix64(rows * _as_signed(0x9E3779B97F4A7C15, 64) + start)
    second = _mix64(first ^ _as_signed(0xD1B54A32D192ED03, 64))
    return torch.stack([_low32(first), _low32(first >> 32), _low32(second)], dim=-1)


def mixed_columns(start: int, count: int, device: torch.device) -> Tensor:
    """Compute `column * WEYL` of `count` columns from `start` on. Returns int32 `[count]`."""
    columns = torch.arange(count, dtype=torch.int32, device=device)
    return columns * _as_signed(WEYL, 32) + _as_signed(start * WEYL, 32)


def coefficients(keys: Tensor, columns: Tensor, imaginary: bool = True) -> tuple[Tensor, Tensor | None]:
    """Compute the entries of the rows with `keys` `[n, 3]` at `columns` (int64 `[m]`).

    Returns their real and imaginary parts `[n, m]`, float32, which are independent, with zero mean and unit
    variance. With `imaginary=False` the imaginary part is `None`.
    """
    k1, k2, k3 = (keys[:, i, None] for i in range(3))
    # Two rounds mix the column with the first two keys of the row.
    x = k1 + _low32(columns * WEYL)
    x = x ^ shift_right_logical(x, 17)
    x = x * _as_signed(ROUNDS[0], 32)
    x = x ^ k2
    x = x ^ shift_right_logical(x, 11)
    x = x * _as_signed(ROUNDS[1], 32)
    z = x ^ shift_right_logical(x, 15)
    # A third round gives the radius.
    h = z * _as_signed(ROUNDS[2], 32)
    h = h ^ shift_right_logical(h, 14)
    # A different third round, with the third key, gives the angle.
    g = (z ^ k3) * _as_signed(ANGLE_ROUND, 32)
    g = g ^ shift_right_logical(g, 16)

    radius = _radius(shift_right_logical(h, 9))
    # The angle in quarter turns, from -1 to 1. A negative radius covers the other half of the circle.
    quarter = ((shift_right_logical(g, 7) & 0xFFFFFE) - 0x7FFFFF).to(torch.float32) * 2.0**-23
    radius = torch.where(g < 0, -radius, radius)
    square = quarter * quarter
    real = radius * _polynomial(COS, square)
    return real, radius * (quarter * _polynomial(SIN, square)) if imaginary else None


def _radius(k: Tensor) -> Tensor:
    """Compute `sqrt(-2 ln u)` of `u = (2 k + 1) / 2^24`, where `k` has 23 bits."""
    # The bits of a float hold its exponent and its fraction `f`, so that ln u = exponent ln 2 + ln(1 + f).
    bits = ((2 * k + 1).to(torch.float32) * 2.0**-24).view(torch.int32) + (BITS_OF_ONE - BITS_OF_ROOT_HALF)
    exponent = ((bits >> 23) - 127).to(torch.float32)
    f = ((bits & 0x7FFFFF) + BITS_OF_ROOT_HALF).view(torch.float32) - 1.0
    return _sqrt(exponent * MINUS_TWO_LN2 + f * _polynomial(LOG, f))


def _sqrt(x: Tensor) -> Tensor:
    """Compute the correctly rounded square root.

    On the CPU torch calls MKL, whose square root can be wrong in the last bit. NumPy and CUDA round correctly.
    """
    return torch.from_numpy(np.sqrt(x.numpy())) if x.device.type == "cpu" else torch.sqrt(x)


def _polynomial(terms: tuple[float, ...], x: Tensor) -> Tensor:
    value = x * terms[-1] + terms[-2]
    for term in reversed(terms[:-2]):
        value = value * x + term
    return value


def _mix64(x: Tensor) -> Tensor:
    """Apply the finaliser of SplitMix64. Products of int64 and of uint64 have the same bits, so int64 is used."""
    x = (x ^ ((x >> 30) & 0x3FFFFFFFF)) * _as_signed(0xBF58476D1CE4E5B9, 64)
    x = (x ^ ((x >> 27) & 0x1FFFFFFFFF)) * _as_signed(0x94D049BB133111EB, 64)
    return x ^ ((x >> 31) & 0x1FFFFFFFF)


def shift_right_logical(x: Tensor, by: int) -> Tensor:
    """Shift an int32 to the right, with zeros from the left. `>>` of torch would copy the sign bit."""
    return (x >> by) & ((1 << (32 - by)) - 1)


def _low32(x: Tensor) -> Tensor:
    """Return the low 32 bits of int64 as int32."""
    return (((x & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000).to(torch.int32)


def _as_signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
