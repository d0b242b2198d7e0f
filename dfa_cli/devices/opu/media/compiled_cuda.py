"""Compiles the arithmetic of `gaussian.py` for CUDA with Triton.

Coefficients are computed in registers, used and forgotten. Import this module only where Triton is: it comes with
torch where torch has CUDA. `Procedural` then multiplies with it.

**Equal bits.** A coefficient has the bits of `gaussian.py`. Integers are integers. A product and a sum of floats are
each rounded, as on the CPU: `enable_fp_fusion=False` at the launch keeps the compiler from fusing them. Where `tl.fma`
is written out, its result is exact, or the fused product is wanted: in the root and in the sums.
"""

# ruff: noqa: ANN001, ANN202  (Triton's compiler reads the kernels)
# pyright: reportMissingImports=false, reportIndexIssue=false

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from dfa_cli.devices.opu.media import gaussian

ONE_COLUMNS = 1024  # columns of a program for one vector: sixteen for each of its 64 threads
TILE_ROWS = 32
# Tensor cores round a sum towards zero. So after this many inputs a sum goes to a total in memory.
MOST_ROWS = 512
SINGLE_PRECISION_ROWS = 1024  # inputs that a thread adds up in single precision
PROGRAMS = 8192  # so many programs that the last ones to end leave little of the card idle
MOST_PARTIAL = 1 << 26  # numbers of 4 bytes
MOST_SPLITS = 65_535  # CUDA's limit for a grid
MOST_COLUMNS = 1 << 30  # of a launch, whose columns are counted in 31 bits
OPTIONS = {"enable_fp_fusion": False}

WEYL, ANGLE_ROUND = tl.constexpr(gaussian.WEYL), tl.constexpr(gaussian.ANGLE_ROUND)
ROUND_0, ROUND_1, ROUND_2 = (tl.constexpr(constant) for constant in gaussian.ROUNDS)
LOG_0, LOG_1, LOG_2, LOG_3, LOG_4, LOG_5, LOG_6 = (tl.constexpr(term) for term in gaussian.LOG)
SIN_0, SIN_1, SIN_2, SIN_3 = (tl.constexpr(term) for term in gaussian.SIN)
COS_0, COS_1, COS_2, COS_3, COS_4 = (tl.constexpr(term) for term in gaussian.COS)
ROOT_HALF = tl.constexpr(gaussian.BITS_OF_ROOT_HALF)
MINUS_TWO_LN2 = tl.constexpr(gaussian.MINUS_TWO_LN2 * 2.0**-23)  # for an exponent in its place among the bits


@triton.jit
def _radius_and_quarter(k1, k2, k3, mixed):
    """Draw the entries in polar form, as `compiled.radius_and_quarter` does, in fewer operations.

    `k2`: the second key, `k2 ^ (k2 >> 11)`. `mixed`: `column * WEYL`.
    """
    x = k1 + mixed
    x = x ^ (x >> 17)
    x = x * ROUND_0
    x = x ^ (x >> 11) ^ k2
    x = x * ROUND_1
    z = x ^ (x >> 15)
    h = z * ROUND_2
    h = h ^ (h >> 14)
    g = (z ^ k3) * ANGLE_ROUND
    g = g ^ (g >> 16)

    # A number of 24 bits is divided by 2^24 in its exponent.
    bits = ((h >> 8) | 1).to(tl.int32).to(tl.float32).to(tl.int32, bitcast=True) - (24 << 23)
    exponent = (bits - ROOT_HALF) & -(1 << 23)  # times 2^23
    f = (bits - exponent).to(tl.float32, bitcast=True) - 1.0
    p = f * LOG_6 + LOG_5
    p = p * f + LOG_4
    p = p * f + LOG_3
    p = p * f + LOG_2
    p = p * f + LOG_1
    p = p * f + LOG_0
    radius = _root(exponent.to(tl.float32) * MINUS_TWO_LN2 + f * p)
    radius = (radius.to(tl.uint32, bitcast=True) | (g & 0x80000000)).to(tl.float32, bitcast=True)
    quarter = tl.fma((g & 0x7FFFFF00).to(tl.int32).to(tl.float32), 2.0**-30, 2.0**-23 - 1.0)  # exact
    return radius, quarter


@triton.jit
def _root(x):
    """Compute the correctly rounded square root of the numbers that occur, 2^-23 to 2^6.

    NVIDIA's assembler makes the same instructions of `sqrt.rn.f32`, and a branch for numbers below 2^-101, which would
    keep the roots of a thread from overlapping. A test goes through all 2^23 radii.
    """
    r = tl.rsqrt(x)
    s = x * r
    # `-s` would take an instruction.
    return tl.fma(tl.fma(s * -1.0, s, x), 0.5 * r, s)


@triton.jit
def _cosine(square):
    p = square * COS_4 + COS_3
    p = p * square + COS_2
    p = p * square + COS_1
    return p * square + COS_0


@triton.jit
def _sine(quarter, square):
    p = square * SIN_3 + SIN_2
    p = p * square + SIN_1
    return quarter * (p * square + SIN_0)


@triton.jit(do_not_specialize=["start"])
def _multiply_one(
    keys, vector, count, inputs, start, out, width, COLUMNS: tl.constexpr, IMAGINARY: tl.constexpr
):
    """Multiply one vector. Program `(i, j)` adds up share `j` of the inputs, for the columns of block `i`."""
    lit = tl.load(count)
    share = tl.cdiv(lit, tl.num_programs(1))
    split = tl.program_id(1)
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    mixed = (tl.cast(start, tl.uint32) + columns.to(tl.uint32)) * WEYL
    real = tl.zeros((COLUMNS,), tl.float32)
    imaginary = tl.zeros((COLUMNS,), tl.float32)
    for row in range(split * share, tl.minimum(lit, (split + 1) * share)):
        k1 = tl.load(keys + row).to(tl.uint32, bitcast=True)
        k2 = tl.load(keys + inputs + row).to(tl.uint32, bitcast=True)
        k3 = tl.load(keys + inputs + inputs + row).to(tl.uint32, bitcast=True)
        x = tl.load(vector + row)
        radius, quarter = _radius_and_quarter(k1, k2, k3, mixed)
        square = quarter * quarter
        real = tl.fma(radius * _cosine(square), x, real)
        if IMAGINARY:
            imaginary = tl.fma(radius * _sine(quarter, square), x, imaginary)
    to = out + split.to(tl.int64) * (1 + IMAGINARY) * width + columns
    tl.store(to, real, mask=columns < width)
    if IMAGINARY:
        tl.store(to + width, imaginary, mask=columns < width)


@triton.jit(do_not_specialize=["vectors"])
def _multiply_many(
    keys,
    high,
    low,
    scale,
    count,
    inputs,
    begin,
    run,
    mixed,
    out,
    vectors,
    stride,
    width,
    VECTORS: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
    IMAGINARY: tl.constexpr,
    ADD: tl.constexpr,
):
    """Multiply many vectors, `VECTORS` of them with each tile of coefficients. `mixed`: `column * WEYL`.

    Program `(i, j, k)` adds up `run` inputs from `begin + j run` on, for the columns of block `i` and the vectors of
    block `k`. With `ADD` it adds them to what is in `out`.
    """
    split = tl.program_id(1)
    first = begin + split * run
    last = tl.minimum(tl.load(count), first + run)
    columns = (tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS))[:, None]
    # Loaded, not computed: Triton then keeps the coefficients in the registers that the tensor cores read. Otherwise
    # they would go through shared memory.
    mixed_column = tl.load(mixed + columns, mask=columns < width, other=0).to(tl.uint32, bitcast=True)
    vector = (tl.program_id(2) * VECTORS + tl.arange(0, VECTORS))[None, :]
    real = tl.zeros((COLUMNS, VECTORS), tl.float32)
    imaginary = tl.zeros((COLUMNS, VECTORS), tl.float32)
    for row in range(first, last, ROWS):
        key = keys + row + tl.arange(0, ROWS)[None, :]
        k1 = tl.load(key).to(tl.uint32, bitcast=True)
        k2 = tl.load(key + inputs).to(tl.uint32, bitcast=True)
        k3 = tl.load(key + inputs + inputs).to(tl.uint32, bitcast=True)
        at = tl.cast(row, tl.int64) * stride + (tl.arange(0, ROWS)[:, None] * stride + vector)
        x_high = tl.load(high + at)
        x_low = tl.load(low + at)
        radius, quarter = _radius_and_quarter(k1, k2, k3, mixed_column)
        square = quarter * quarter
        real = _add_product(radius * _cosine(square), x_high, x_low, real)
        if IMAGINARY:
            imaginary = _add_product(radius * _sine(quarter, square), x_high, x_low, imaginary)
    scales = tl.load(scale + vector, mask=vector < vectors, other=0.0)
    to = out + (split * vectors + vector).to(tl.int64) * (1 + IMAGINARY) * width + columns
    inside = (vector < vectors) & (columns < width)
    real = real * scales
    if ADD:
        real += tl.load(to, mask=inside)
    tl.store(to, real, mask=inside)
    if IMAGINARY:
        imaginary = imaginary * scales
        if ADD:
            imaginary += tl.load(to + width, mask=inside)
        tl.store(to + width, imaginary, mask=inside)


@triton.jit
def _add_product(coefficients, x_high, x_low, to):
    """Add `coefficients @ x` to `to`, on tensor cores.

    A number is the sum of two of 11 bits, so that products have 22 bits. In float32 proper, an H200 can multiply 256
    vectors by at most 1.3e11 coefficients a second, which is a quarter of those that it can compute.
    """
    high = coefficients.to(tl.float16)
    low = (coefficients - high.to(tl.float32)).to(tl.float16)
    # Triton 3.8 would compute the coefficients of a factor that occurs twice again. The last factor need not be exact.
    to = tl.dot(high, x_high, to)
    to = tl.dot(low, x_high, to)
    return tl.dot(coefficients.to(tl.float16, fp_downcast_rounding="rtz"), x_low, to)


def product(keys: Tensor, patterns: Tensor) -> Callable[[int, Tensor], None]:
    """Return a function `multiply_into(start, out)`, as `procedural._compiled_product` does.

    The CPU never waits for the card. Sums are split by the shapes alone, and added in a fixed order.
    """
    k, n = patterns.shape
    # Inputs that are not zero in every pattern come first, and their number stays on the card.
    lit = patterns.any(0)
    order = lit.to(torch.uint8).argsort(descending=True, stable=True)
    count = lit.sum(dtype=torch.int32)
    # Loops over tiles of inputs may run beyond the last one, to zeros.
    inputs = _up(n, MOST_ROWS)
    planes = torch.zeros(3, inputs, dtype=torch.int32, device=keys.device)
    planes[:, :n] = keys.index_select(0, order).t()
    planes[1] ^= gaussian.shift_right_logical(planes[1], 11)
    if k == 1:
        vector = patterns[0].index_select(0, order)

        def multiply_one(start: int, out: Tensor) -> None:
            blocks = triton.cdiv(out.shape[2], ONE_COLUMNS)
            # at most as many inputs as single precision adds up well, at least as many as make a program worth it
            splits = max(triton.cdiv(n, SINGLE_PRECISION_ROWS), min(triton.cdiv(n, 64), PROGRAMS // blocks))
            splits = min(splits, MOST_SPLITS)
            for first, last, partial in _pieces(splits, out):
                grid = triton.cdiv(last - first, ONE_COLUMNS), splits
                _multiply_one[grid](
                    planes,
                    vector,
                    count,
                    inputs,
                    start + first,
                    partial,
                    last - first,
                    COLUMNS=ONE_COLUMNS,
                    IMAGINARY=out.shape[1] == 2,
                    num_warps=2,
                    **OPTIONS,
                )
                _add_up(partial, out, first, last)

        return multiply_one

    # Numbers up to 1, so that half precision holds them: divided by a power of two, which is exact.
    exponent = torch.frexp(patterns.abs().amax(1)).exponent.clamp(-126, 126)
    scale = _power_of_two(exponent)
    stride = _up(k, 256 if k > 128 else 128 if k > 64 else 64)
    x = torch.zeros(inputs, stride, device=keys.device)
    x[:n, :k] = (patterns * _power_of_two(-exponent)[:, None]).index_select(1, order).t()
    high = x.half()
    low = (x - high).half()

    hopper = _is_hopper(keys.device)

    def multiply_many(start: int, out: Tensor) -> None:
        parts = out.shape[1]
        # A thread has 255 registers for its part of a tile. On Hopper the tensor cores take `x` from shared memory. For
        # other cards Triton divides a tile between warps along its longer side, and each should have its own columns.
        at_once, across = min(stride, (256 if hopper else 128) // parts), 64 if hopper else 128
        blocks = triton.cdiv(out.shape[2], across) * (stride // at_once)
        run = min(MOST_ROWS, _up(triton.cdiv(n * blocks, PROGRAMS // 4), TILE_ROWS))
        splits = min(triton.cdiv(n, run), max(1, PROGRAMS // 4 // blocks))
        for first, last, partial in _pieces(splits, out):
            grid = triton.cdiv(last - first, across), splits, stride // at_once
            mixed = gaussian.mixed_columns(start + first, last - first, keys.device)
            for begin in range(0, n, splits * run):
                _multiply_many[grid](
                    planes,
                    high,
                    low,
                    scale,
                    count,
                    inputs,
                    begin,
                    run,
                    mixed,
                    partial,
                    k,
                    stride,
                    last - first,
                    VECTORS=at_once,
                    COLUMNS=across,
                    ROWS=TILE_ROWS,
                    IMAGINARY=parts == 2,
                    ADD=begin > 0,
                    num_stages=2,
                    num_warps=4 if hopper else 8,
                    **OPTIONS,
                )
            _add_up(partial, out, first, last)

    return multiply_many


def _pieces(splits: int, out: Tensor) -> Iterator[tuple[int, int, Tensor]]:
    """Divide the columns of `out` so that partial sums fit in memory. Yields first and last column and their memory."""
    k, parts, width = out.shape
    if splits == 1 and out.is_contiguous() and width <= MOST_COLUMNS:
        yield 0, width, out[None]
        return
    columns = min(width, max(ONE_COLUMNS, MOST_PARTIAL // (splits * k * parts)))
    for first in range(0, width, columns):
        last = min(first + columns, width)
        yield first, last, out.new_empty(splits, k, parts, last - first)


def _add_up(partial: Tensor, out: Tensor, first: int, last: int) -> None:
    if partial.data_ptr() != out.data_ptr():
        torch.sum(partial, 0, out=out[:, :, first:last])


def _is_hopper(device: torch.device) -> bool:
    return device.type == "cuda" and torch.cuda.get_device_capability(device)[0] == 9


def _power_of_two(exponent: Tensor) -> Tensor:
    return ((exponent.to(torch.int32) + 127) << 23).view(torch.float32)


def _up(number: int, multiple: int) -> int:
    return triton.cdiv(number, multiple) * multiple
