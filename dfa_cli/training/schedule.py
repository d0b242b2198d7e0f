"""How the learning rate falls over a run."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

# factor of the learning rate, `t` from 0 in the first epoch to just below 1 in the last
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda t: 1.0,
    "linear": lambda t: 1.0 - t,
    "cosine": lambda t: 0.5 * (1.0 + math.cos(math.pi * t)),
}


def set_rate(optimizer: torch.optim.Optimizer, schedule: str, epoch: int, epochs: int) -> None:
    """`lr = lr_0 f((epoch - 1) / epochs)` in every parameter group; epochs count from 1.

    A function of the epoch alone: a resumed run needs no state for it. `lr_0` is the rate the optimizer was made
    with, kept in the group as torch's own schedulers do.
    """
    factor = SCHEDULES[schedule]((epoch - 1) / epochs)
    for group in optimizer.param_groups:
        group["lr"] = group.setdefault("initial_lr", group["lr"]) * factor
