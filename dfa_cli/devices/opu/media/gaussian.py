"""Complex Gaussian numbers that are computed, not stored: a matrix from its seed, entry by entry.

The generator is counter-based: a key for each row (SplitMix64 of seed and row), then for each column three
rounds of multiply and xor-shift of 32 bits, which give the 23 bits of a radius and the 24 bits of an angle.
Box and Muller's

    t = sqrt(-2 ln u) exp(2 pi i v)

is a circular complex Gaussian with real and imaginary parts of unit variance; the radius reaches 5.77.
Logarithm, sine and cosine are polynomials of single precision (error below 2e-6), made of additions and
multiplications only, so that every processor gives the same bits. `compiled.py` holds the same arithmetic
for numba; a test compares them.

Salmon et al. 2011 (counter-based generators); Steele et al. 2014 (SplitMix); the constants of the 32-bit
rounds are C. Wellons' "triple32".
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
MOST_COLUMNS = 1 << 32


def row_keys(seed: int, rows: Tensor) -> Tensor:
    """The keys of `rows` (int64 `[n]`) -> int32 `[n, 3]`, on the device of `rows`."""
    # The seed is mixed by itself first, or row i of one seed would be row i + 1 of the seed before it.
    start = _mix64(torch.tensor(_signed(seed, 64))).item()
    first = _mix64(rows * _signed(0x9E3779B97F4A7C15, 64) + start)
    second = _mix64(first ^ _signed(0xD1B54A32D192ED03, 64))
    return torch.stack([_low32(first), _low32(first >> 32), _low32(second)], dim=-1)


def coefficients(keys: Tensor, columns: Tensor, imaginary: bool = True) -> tuple[Tensor, Tensor | None]:
    """Real and imaginary parts `[n, m]`, float32, of the rows with `keys` `[n, 3]` at `columns` (int64
    `[m]`).

    Real and imaginary parts are independent, with zero mean and unit variance.
    """
    k1, k2, k3 = (keys[:, i, None] for i in range(3))
    x = k1 + _low32(columns * WEYL)
    x = x ^ _right(x, 17)
    x = x * _signed(ROUNDS[0], 32)
    x = x ^ k2
    x = x ^ _right(x, 11)
    x = x * _signed(ROUNDS[1], 32)
    z = x ^ _right(x, 15)
    h = z * _signed(ROUNDS[2], 32)
    h = h ^ _right(h, 14)
    g = (z ^ k3) * _signed(ANGLE_ROUND, 32)
    g = g ^ _right(g, 16)

    radius = _radius(_right(h, 9))
    quarter = ((_right(g, 7) & 0xFFFFFE) - 0x7FFFFF).to(torch.float32) * 2.0**-23  # (-1, 1) of a quarter turn
    radius = torch.where(g < 0, -radius, radius)
    square = quarter * quarter
    real = radius * _polynomial(COS, square)
    return real, radius * (quarter * _polynomial(SIN, square)) if imaginary else None


def _radius(k: Tensor) -> Tensor:
    """`sqrt(-2 ln u)` of `u = (2 k + 1) / 2^24`, `k` of 23 bits."""
    bits = ((2 * k + 1).to(torch.float32) * 2.0**-24).view(torch.int32) + (BITS_OF_ONE - BITS_OF_ROOT_HALF)
    exponent = ((bits >> 23) - 127).to(torch.float32)
    f = ((bits & 0x7FFFFF) + BITS_OF_ROOT_HALF).view(torch.float32) - 1.0
    return _sqrt(exponent * MINUS_TWO_LN2 + f * _polynomial(LOG, f))


def _sqrt(x: Tensor) -> Tensor:
    """Correctly rounded. Torch's on the CPU is not in the last bit (it calls MKL), NumPy's and CUDA's are."""
    return torch.from_numpy(np.sqrt(x.numpy())) if x.device.type == "cpu" else torch.sqrt(x)


def _polynomial(terms: tuple[float, ...], x: Tensor) -> Tensor:
    value = x * terms[-1] + terms[-2]
    for term in reversed(terms[:-2]):
        value = value * x + term
    return value


def _mix64(x: Tensor) -> Tensor:
    """SplitMix64's finaliser on int64, whose products wrap as those of uint64 do."""
    x = (x ^ ((x >> 30) & 0x3FFFFFFFF)) * _signed(0xBF58476D1CE4E5B9, 64)
    x = (x ^ ((x >> 27) & 0x1FFFFFFFFF)) * _signed(0x94D049BB133111EB, 64)
    return x ^ ((x >> 31) & 0x1FFFFFFFF)


def _right(x: Tensor, by: int) -> Tensor:
    """Shift to the right with zeros from the left: torch's own brings the sign of an int32."""
    return (x >> by) & ((1 << (32 - by)) - 1)


def _low32(x: Tensor) -> Tensor:
    """The low 32 bits of int64, as int32."""
    return (((x & 0xFFFFFFFF) ^ 0x80000000) - 0x80000000).to(torch.int32)


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value
