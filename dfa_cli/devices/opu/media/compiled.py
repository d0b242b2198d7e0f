"""Compiles the arithmetic of `gaussian.py` for the CPU with numba.

Coefficients are computed, used and forgotten, so they need no memory. Import this module only where it is used:
numba takes half a second to load, and each kernel a second to compile.

The kernels start no threads. `in_threads` hands out columns, and one thread sums each column in a fixed order.
So neither the number of threads nor the width of the tiles changes a bit of the result.
"""

# ruff: noqa: ANN001, ANN201  (numba infers the types of the kernels)

from __future__ import annotations

import numba
import numpy as np

from dfa_cli.devices.opu.media import gaussian

BLOCK_ROWS = 64  # rows of coefficients that are held at once; must divide SINGLE_PRECISION_ROWS
SINGLE_PRECISION_ROWS = 1024  # rows summed in single precision, before the sum is added to a total in double

u32, i32, f32 = np.uint32, np.int32, np.float32
WEYL, ANGLE_ROUND = u32(gaussian.WEYL), u32(gaussian.ANGLE_ROUND)
ROUND_0, ROUND_1, ROUND_2 = (u32(constant) for constant in gaussian.ROUNDS)
LOG_0, LOG_1, LOG_2, LOG_3, LOG_4, LOG_5, LOG_6 = (f32(term) for term in gaussian.LOG)
SIN_0, SIN_1, SIN_2, SIN_3 = (f32(term) for term in gaussian.SIN)
COS_0, COS_1, COS_2, COS_3, COS_4 = (f32(term) for term in gaussian.COS)
ONE, MINUS_TWO_LN2 = f32(1.0), f32(gaussian.MINUS_TWO_LN2)
TO_UNIT, TO_QUARTER = f32(2.0**-24), f32(2.0**-23)
FROM_ROOT_HALF, ROOT_HALF = (
    i32(gaussian.BITS_OF_ONE - gaussian.BITS_OF_ROOT_HALF),
    i32(gaussian.BITS_OF_ROOT_HALF),
)


# Every operation is wrapped in the type of its result, because numba widens an operation of two 32-bit integers to 64
# bits, at twice the cost. `fastmath` stays off: it could fuse a product and a sum, which would change the last bit.
@numba.njit
def radius_and_quarter(k1, k2, k3, column):
    """Draw the entry of a row (keys `k1`, `k2`, `k3`) and a column, as `gaussian.coefficients` does.

    Returns the entry in polar form: its radius, which may be negative, and its angle in quarter turns, from -1 to 1.
    """
    x = u32(k1 + u32(column * WEYL))
    x = u32(x ^ u32(x >> u32(17)))
    x = u32(x * ROUND_0)
    x = u32(x ^ k2)
    x = u32(x ^ u32(x >> u32(11)))
    x = u32(x * ROUND_1)
    z = u32(x ^ u32(x >> u32(15)))
    h = u32(z * ROUND_2)
    h = u32(h ^ u32(h >> u32(14)))
    g = u32(u32(z ^ k3) * ANGLE_ROUND)
    g = u32(g ^ u32(g >> u32(16)))

    bits = i32(np.float32(f32(i32(u32(u32(u32(h >> u32(9)) << u32(1)) | u32(1)))) * TO_UNIT).view(np.int32))
    bits = i32(bits + FROM_ROOT_HALF)
    exponent = f32(i32(i32(bits >> i32(23)) - i32(127)))
    f = f32(np.int32(i32(bits & i32(0x7FFFFF)) + ROOT_HALF).view(np.float32) - ONE)
    p = f * LOG_6 + LOG_5
    p = p * f + LOG_4
    p = p * f + LOG_3
    p = p * f + LOG_2
    p = p * f + LOG_1
    p = p * f + LOG_0
    radius = np.float32(np.sqrt(exponent * MINUS_TWO_LN2 + f * p))
    radius = np.uint32(radius.view(np.uint32) | u32(g & u32(0x80000000))).view(np.float32)
    quarter = f32(i32(i32(u32(u32(g >> u32(7)) & u32(0xFFFFFE))) - i32(0x7FFFFF))) * TO_QUARTER
    return radius, quarter


@numba.njit
def cosine(square):
    p = square * COS_4 + COS_3
    p = p * square + COS_2
    p = p * square + COS_1
    return p * square + COS_0


@numba.njit
def sine(quarter, square):
    """Return the sine of an angle. `quarter` is the angle in quarter turns, and `square` is its square."""
    p = square * SIN_3 + SIN_2
    p = p * square + SIN_1
    return quarter * (p * square + SIN_0)


@numba.njit(nogil=True)
def fill_row(k1, k2, k3, first, real, imaginary):
    """Fill `real` and `imaginary` with one row of coefficients from column `first` on.

    With an empty `imaginary`, only the real parts are computed.
    """
    if len(imaginary):
        for j in range(len(real)):
            radius, quarter = radius_and_quarter(k1, k2, k3, u32(first + u32(j)))
            square = quarter * quarter
            real[j] = radius * cosine(square)
            imaginary[j] = radius * sine(quarter, square)
    else:
        for j in range(len(real)):
            radius, quarter = radius_and_quarter(k1, k2, k3, u32(first + u32(j)))
            real[j] = radius * cosine(quarter * quarter)


@numba.njit(nogil=True)
def fill(keys, first, real, imaginary):
    """Fill `real` and `imaginary` `[n, m]` with the coefficients from column `first` on."""
    for i in range(len(real)):
        fill_row(keys[i, 0], keys[i, 1], keys[i, 2], first, real[i], imaginary[i])


@numba.njit(nogil=True)
def multiply(keys, starts, inputs, values, first, out, begin, end):
    """Multiply `k` sparse vectors with the columns from `first` on, into `out[:, :, begin:end]`.

    `out` is `[k, parts, n_out]`. Column `first` of the matrix goes to `out[:, :, begin]`.
    The vectors are in CSR format: vector `v` has the value `values[e]` at the input `inputs[e]`, for `e` from
    `starts[v]` to `starts[v + 1] - 1`. The inputs of a vector ascend.
    The coefficients of `BLOCK_ROWS` inputs are computed at a time, and then used for all vectors. Inputs at which every
    vector is zero are skipped.
    """
    count, parts, width = out.shape[0], out.shape[1], end - begin
    n = len(keys)
    long = n > SINGLE_PRECISION_ROWS
    real = np.empty((BLOCK_ROWS, width), np.float32)
    imaginary = np.empty((BLOCK_ROWS, width if parts == 2 else 0), np.float32)
    out[:, :, begin:end] = 0
    total = np.zeros((count, parts, width if long else 0), np.float64)
    next_entry = starts[:-1].copy()
    slots = inputs % BLOCK_ROWS  # the row of the block that holds the coefficients of each input
    needed = np.zeros(n, np.bool_)
    for i in inputs:
        needed[i] = True
    for start in range(0, n, BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, n)
        for i in range(start, stop):
            if needed[i]:
                fill_row(keys[i, 0], keys[i, 1], keys[i, 2], first, real[i - start], imaginary[i - start])
        for v in range(count):
            e = next_entry[v]
            while next_entry[v] < starts[v + 1] and inputs[next_entry[v]] < stop:
                next_entry[v] += 1
            if next_entry[v] > e:
                add_weighted_rows(
                    values[e : next_entry[v]], slots[e : next_entry[v]], real, out[v, 0, begin:end]
                )
                if parts == 2:
                    add_weighted_rows(
                        values[e : next_entry[v]], slots[e : next_entry[v]], imaginary, out[v, 1, begin:end]
                    )
        if long and (stop == n or stop % SINGLE_PRECISION_ROWS == 0):
            for v in range(count):
                for part in range(parts):
                    flush(out[v, part, begin:end], total[v, part])
    if long:
        out[:, :, begin:end] = total


@numba.njit
def add_weighted_rows(values, inputs, rows, to):
    """Add `sum_e values[e] rows[inputs[e]]` to `to`, in the order of `e`.

    Four terms are added for each pass over `to`, which saves loads and stores.
    """
    fours = len(values) // 4 * 4
    for e in range(0, fours, 4):
        a, b, c, d = inputs[e], inputs[e + 1], inputs[e + 2], inputs[e + 3]
        p, q, r, s = values[e], values[e + 1], values[e + 2], values[e + 3]
        for j in range(len(to)):
            y = to[j] + p * rows[a, j]
            y = y + q * rows[b, j]
            y = y + r * rows[c, j]
            to[j] = y + s * rows[d, j]
    for e in range(fours, len(values)):
        a, p = inputs[e], values[e]
        for j in range(len(to)):
            to[j] += p * rows[a, j]


@numba.njit
def flush(partial, total):
    """Move the single-precision sums of `partial` to the double-precision `total`."""
    for j in range(len(total)):
        total[j] += partial[j]
        partial[j] = 0
