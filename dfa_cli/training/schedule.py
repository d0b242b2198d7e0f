"""Schedules of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

# Each schedule gives the factor of the learning rate at `t`, the fraction of the epochs that are over. `t` rises from
# 0 in the first epoch to just below 1 in the last.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda t: 1.0,
    "linear": lambda t: 1.0 - t,
    "cosine": lambda t: 0.5 * (1.0 + math.cos(math.pi * t)),
}


def set_rate(optimizer: torch.optim.Optimizer, schedule: str, epoch: int, epochs: int) -> None:
    """Set the learning rate of an epoch in every parameter group: `lr = lr_0 f((epoch - 1) / epochs)`.

    Epochs count from 1. The rate depends on the epoch alone, so a resumed run needs no saved scheduler. `lr_0` is the
    rate with which the optimizer was built. It is kept in the group as `initial_lr`, as torch's schedulers do. A rate
    that is a tensor is filled in place, so that a recorded step reads the new one.
    """
    factor = SCHEDULES[schedule]((epoch - 1) / epochs)
    for group in optimizer.param_groups:
        if "initial_lr" not in group:
            group["initial_lr"] = float(group["lr"])
        rate = group["initial_lr"] * factor
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
