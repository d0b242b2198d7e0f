"""What a projection device is: who computes `e B`, and at what cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cost:
    """What the projections since `prepare` have cost.

    `rows`: vectors projected; `frames`: binary images shown (0 on digital hardware); `coefficients`: entries of the
    feedback matrix times rows; `measured_seconds`: time this machine spent; `modelled_seconds`, `modelled_joules`:
    what the modelled hardware would have taken, `None` where nothing is modelled; `notes`: further figures of the
    device, such as the fraction of saturated pixels.
    """

    rows: int = 0
    frames: int = 0
    coefficients: int = 0
    measured_seconds: float = 0.0
    modelled_seconds: float | None = None
    modelled_joules: float | None = None
    notes: dict[str, float] = field(default_factory=dict)


@runtime_checkable
class ProjectionDevice(Protocol):
    """A fixed random linear map `project(e) = e B`, `B` of shape `[n_in, n_out]` with `E[B_ij] = 0, E[B_ij^2] = 1`.

    The learning rule scales the result by the width of each block; the device knows nothing of networks. A row of
    zeros gives zeros and costs no frame.
    """

    def prepare(self, n_in: int, n_out: int, compute: torch.device) -> None:
        """Fix `B` from the device's own matrix seed; tensors will come from and return to `compute`.

        Raises `DfaError` when the size is beyond the device.
        """
        ...

    def project(self, error: Tensor) -> Tensor:
        """`error` `[rows, n_in]` -> `[rows, n_out]`, on the tensor's own device and in its own dtype."""
        ...

    def matrix(self) -> Tensor:
        """`B` `[n_in, n_out]`, for measurements. Raises `DfaError` when it is too large to be stored."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors that make a resumed run equal to one that was never interrupted, its counts and times included."""
        ...

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """The inverse of `state_dict`, after `prepare` with the same sizes."""
        ...

    def cost(self) -> Cost:
        """Totals since `prepare`. May wait for the accelerator: called once an epoch at most."""
        ...
