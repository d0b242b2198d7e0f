"""Fills a stored matrix with its coefficients, by compiled code or by torch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dfa_cli.devices.opu.media.gaussian import coefficients

BLOCK = 1 << 22  # coefficients that torch computes at once
COMPILE_FROM = 1 << 21  # coefficients from which compiled code saves more time than it takes to compile


def fill(keys: Tensor, real: Tensor, imaginary: Tensor | None) -> None:
    """Compute every coefficient of the rows with `keys` into `real` and `imaginary` `[n_in, n_out]`."""
    n_in, n_out = real.shape
    if real.device.type == "cpu" and real.numel() >= COMPILE_FROM:
        from dfa_cli.devices.opu.media import compiled as kernels

        empty = torch.empty(n_in, 0)

        def work(first: int, last: int) -> None:
            parts = [empty if part is None else part[:, first:last] for part in (real, imaginary)]
            kernels.fill(unsigned(keys), kernels.u32(first), parts[0].numpy(), parts[1].numpy())

        kernels.run_in_threads(work, n_out, 1024)
        return
    columns = torch.arange(n_out, device=real.device)
    rows = max(1, BLOCK // n_out)
    for first in range(0, n_in, rows):
        made = coefficients(keys[first : first + rows], columns, imaginary is not None)
        real[first : first + rows] = made[0]
        if imaginary is not None and made[1] is not None:
            imaginary[first : first + rows] = made[1]


def unsigned(keys: Tensor) -> np.ndarray:
    """Return the int32 keys of `row_keys` as the uint32 array that the compiled kernels take."""
    return keys.numpy().view("uint32")
