"""Fills a stored matrix with its coefficients, by compiled code or by torch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dfa_cli.devices.opu.media.gaussian import coefficients
from dfa_cli.kernels.threads import in_threads

BLOCK = 1 << 22  # coefficients that torch computes at once
COMPILE_FROM = 1 << 21  # coefficients from which compiled code saves more time than it takes to compile


def fill(keys: Tensor, real: Tensor, imaginary: Tensor | None) -> None:
    """Compute all coefficients of the rows with the keys `keys`, and write them to `real` and `imaginary`.

    Both are `[n_in, n_out]`. Without `imaginary`, only the real parts are computed.
    """
    n_in, n_out = real.shape
    if real.device.type == "cpu" and real.numel() >= COMPILE_FROM:
        from dfa_cli.devices.opu.media import compiled as kernels

        empty = torch.empty(n_in, 0)  # tells the kernel to skip the imaginary parts

        def work(first: int, last: int) -> None:
            parts = [empty if part is None else part[:, first:last] for part in (real, imaginary)]
            kernels.fill(unsigned(keys), kernels.u32(first), parts[0].numpy(), parts[1].numpy())

        in_threads(work, n_out, width=1024)
        return
    columns = torch.arange(n_out, device=real.device)
    rows = max(1, BLOCK // n_out)
    for first in range(0, n_in, rows):
        real_rows, imaginary_rows = coefficients(keys[first : first + rows], columns, imaginary is not None)
        real[first : first + rows] = real_rows
        if imaginary is not None and imaginary_rows is not None:
            imaginary[first : first + rows] = imaginary_rows


def unsigned(keys: Tensor) -> np.ndarray:
    """Return the int32 keys of `row_keys` as the uint32 array that the compiled kernels take."""
    return keys.numpy().view("uint32")
