"""Lets the optics change while they are used: the medium drifts, and the phase of the reference beam walks."""

from __future__ import annotations

import cmath
import math

import torch
from torch import Tensor

from dfa_cli.config.bounds import require
from dfa_cli.config.optics import require_drift
from dfa_cli.devices.opu.media.base import Medium
from dfa_cli.devices.opu.media.drifting import FORGOTTEN, Drifting
from dfa_cli.seeding import generator

TICKS = 1024  # of a tau in hours; within one, the correlation falls by 0.0005, and the medium stands still


class Drift:
    """How much the optics change from one projection (a step) to the next.

        T(t + 1) = sqrt(1 - 1 / tau) T(t) + sqrt(1 / tau) G(t + 1)
        correlation of T_ij(t) and T_ij(t + k) = (1 - 1 / tau)^(k / 2),    variance 1 at every step

    `G(t)` are independent media, whose seeds follow from the matrix seed and `t`. `T(0)` is the medium without drift.
    With `unit="hours"` the time is the modelled time of the frames so far. The correlation over `h` hours is then
    `exp(-h / (2 tau))`, and the medium moves each time that another `tau / 1024` has passed.

    A holographic read-out measures the phase of the light against that of the reference beam. When the latter is off by
    `phi`, it reads `Re(E exp(i phi))` in place of `Re E`:

        phi = walk * (w_1 + ... + w_t) + jitter * v_f,    w, v ~ N(0, 1), one w each step, one v each pattern

    All modes share one `phi`, and so do the images that a read-out takes of one pattern. An intensity has no phase, so
    the read-out `intensity` is refused.

    `tau`: in `unit`s; at least 1e-9 if these are hours. Up to 1 step the medium is new at each step. `None`: it stands
    still.
    `walk` [radians per square root of a step], `jitter` [radians, r.m.s.].
    `refresh` [steps]: after so many, a device with `remove_sum` measures the projection of a row of ones again.
    """

    def __init__(
        self,
        tau: float | None = None,
        unit: str = "steps",
        walk: float = 0.0,
        jitter: float = 0.0,
        refresh: int = 10,
    ):
        values = {"tau": tau, "unit": unit, "walk": walk, "jitter": jitter, "refresh": refresh}
        for name, value in values.items():
            require(f"device.drift.{name}", value)
        require_drift(tau, unit, walk, jitter)
        self.tau, self.in_hours, self.walk, self.jitter = tau, unit == "hours", walk, jitter
        self.refresh = refresh

    @property
    def changes_phase(self) -> bool:
        """Whether the phase of the reference beam changes."""
        return self.walk > 0 or self.jitter > 0

    def apply_to(self, medium: Medium) -> Medium:
        """Make a medium drift. Returns `medium` itself if it stands still."""
        if self.tau is None:
            return medium
        # Half of the logarithm by which the correlation squared falls in a step, or in a tick of a tau in hours.
        if self.in_hours:
            return Drifting(medium, 0.5 / TICKS)
        return Drifting(medium, FORGOTTEN if self.tau <= 1 else -0.5 * math.log1p(-1 / self.tau))

    def begin(self, medium: Medium, noise_seed: int) -> None:
        """Return to the moment before the first step."""
        self._medium, self._seed = medium, noise_seed
        self._steps, self._tick, self._phase = 0, 0, 0.0

    def step(self, seconds: float) -> None:
        """Let the optics change until the next projection, before which the frames have taken `seconds` so far."""
        ticks = seconds / (3600 * self.tau) * TICKS if self.tau and self.in_hours else self._steps
        self._draws = generator(self._seed, f"reference {self._steps}")
        if self._steps:
            self._phase += self.walk * float(torch.randn((), generator=self._draws))
        self._steps += 1
        self._move_to(int(ticks))

    def _move_to(self, tick: int) -> None:
        self._tick = tick
        if isinstance(self._medium, Drifting):
            self._medium.move_to(tick)

    def phases(self, shown: Tensor) -> Tensor:
        """Draw the phases of the reference beam for patterns `shown` `[patterns, rows]` of this step, in radians."""
        jitter = torch.randn(shown.shape, generator=self._draws).mul_(self.jitter)
        return jitter.add_(self._phase).to(shown)

    @property
    def refreshes(self) -> bool:
        """Whether what was measured of the optics has to be measured again at this step."""
        return (self._steps - 1) % self.refresh == 0

    def feedback_matrix(self) -> Tensor:
        """Return `Re(T exp(i phi))` `[n_in, n_out]` at this step, without the jitter."""
        real = self._medium.feedback_matrix()
        if not self._phase:
            return real
        rows, columns = (torch.arange(size, device=real.device) for size in real.shape)
        rotated = self._medium.entries(rows, columns) * cmath.exp(1j * self._phase)
        return rotated.real.contiguous()

    def notes(self, seconds: float) -> dict[str, float]:
        """Return what a record should say: how much of the first matrix is left, and `tau` in steps and in seconds.

        `seconds`: modelled time of all steps so far. The mean step relates the two units.
        """
        left = self._medium.correlation if isinstance(self._medium, Drifting) else 1.0
        notes = {"correlation_with_first_matrix": round(left * math.cos(self._phase), 4)}
        if self.tau and seconds:
            step = seconds / self._steps
            in_seconds = 3600 * self.tau if self.in_hours else self.tau * step
            notes |= {"coherence_time_steps": in_seconds / step, "coherence_time_seconds": in_seconds}
        return notes

    def caution(self, seconds: float) -> str | None:
        """Say when the medium forgets itself within a step. `seconds` as for `notes`."""
        steps = self.notes(seconds).get("coherence_time_steps", math.inf)
        if steps > 1:
            return None
        shorter = ", or shorten a step by smaller batches or shorter frames" if self.in_hours else ""
        time = f"{steps:.2g} step{'s' * (steps != 1)}"
        return (
            f"The medium forgets itself within a step: its coherence time is {time}. Hidden blocks can "
            f"hardly learn, only the last block does. Raise device.drift.tau{shorter}."
        )

    def state(self) -> Tensor:
        return torch.tensor([self._steps, self._tick, self._phase], dtype=torch.float64)

    def load(self, state: Tensor) -> None:
        steps, tick, self._phase = state.tolist()
        self._steps = int(steps)
        self._move_to(int(tick))


def rotate_phase(field: Tensor, phases: Tensor) -> Tensor:
    """Multiply the field `[patterns, rows, 2, modes]` by `exp(i phases)`, with a phase for each pattern and row."""
    cosine, sine = phases.cos()[..., None], phases.sin()[..., None]
    real, imaginary = field[:, :, 0], field[:, :, 1]
    return torch.stack([real * cosine - imaginary * sine, real * sine + imaginary * cosine], 2)
