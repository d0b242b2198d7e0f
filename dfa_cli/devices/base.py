"""`ProjectionDevice` is the interface of the devices that compute `e B`. `Cost` says what the projections cost."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cost:
    """The cost of all projections since `prepare`.

    `rows`: number of projected vectors, in all processes of a run together.
    `frames`: number of exposures of the camera, each with a binary pattern shown; 0 on digital hardware.
    `coefficients`: number of entries of the feedback matrix, times `rows`.
    `measured_seconds` [s]: time that this machine spent; `None` where steps were replayed, which nobody times.
    `modelled_seconds` [s], `modelled_joules` [J]: time and energy that the modelled hardware would have needed;
    `None` where no hardware is modelled.
    `notes`: further figures of the device, such as the fraction of saturated pixels.
    `warnings`: what went wrong in the projections since the previous call of `cost()`, one sentence each, with what to
    do. The other figures count since `prepare`. A run keeps them in its record, and its row is marked in every table.
    """

    rows: int = 0
    frames: int = 0
    coefficients: int = 0
    measured_seconds: float | None = 0.0
    modelled_seconds: float | None = None
    modelled_joules: float | None = None
    notes: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@runtime_checkable
class ProjectionDevice(Protocol):
    """Projects the error with a fixed random matrix.

        project(e) = e B,   B [n_in, n_out],   E[B_ij] = 0,   E[B_ij^2] = 1

    A learning rule asks the device for the feedback of the network's blocks, and scales the result by the width of
    each block. The device knows nothing of networks. A row of zeros in the error gives a row of zeros and costs no
    frame.
    """

    def prepare(self, n_in: int, n_out: int, compute: torch.device) -> None:
        """Choose the matrix `B` `[n_in, n_out]` by the matrix seed of the device, and set the costs to zero.

        `compute` is the torch device that holds the errors and must hold the results.
        Raises `DfaError` when the device does not support a matrix of this size.
        """
        ...

    def project(self, error: Tensor) -> Tensor:
        """Project `error` `[rows, n_in]` to `[rows, n_out]`. The torch device and the dtype stay those of `error`."""
        ...

    def matrix(self) -> Tensor:
        """Return `B` `[n_in, n_out]`, for measurements. Raises `DfaError` when it is too large to be stored."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Return the tensors that a checkpoint needs, counts and times included.

        A run that is resumed with them equals one that was never interrupted.
        """
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned. Call it after `prepare` with the same sizes."""
        ...

    def cost(self) -> Cost:
        """Return the totals since `prepare`. Training calls it after each epoch: it may wait for the accelerator."""
        ...


@dataclass
class Counts:
    """What a device counts in Python: the rows that it projected, and the seconds that this took.

    `seconds` is not a number (`nan`) once a projection was replayed.
    """

    rows: int = 0
    seconds: float = 0.0

    def measured_seconds(self) -> float | None:
        return None if math.isnan(self.seconds) else self.seconds


@runtime_checkable
class Replayable(Protocol):
    """An optional part of a device: its projections may be recorded once, and replayed without Python.

    Such a device keeps its tensors, its generators and `counts` where they are from the first projection on.
    `load_state_dict` writes into them. `state_dict` calls the measured time `seconds`, and has no other entry that
    differs between equal runs.

    `counts`: the recorder adds to it at each replay, in which no line of the device runs.
    """

    counts: Counts

    def generators(self) -> Iterable[torch.Generator]:
        """Return the generators from which projections draw."""
        ...
