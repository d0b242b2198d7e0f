"""Projects the error on digital hardware: a stored matrix and a matrix product."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from dfa_cli.config.bounds import require
from dfa_cli.devices.base import Cost, Counts
from dfa_cli.devices.parts import Span
from dfa_cli.kernels.onednn import matmul
from dfa_cli.machine.accelerator import resolve
from dfa_cli.seeding import generator


class Digital:
    """Projects the error with a stored random matrix, on the CPU or on a GPU.

        project(e) = e B,   B [n_in, n_out],   entries i.i.d. with mean 0 and variance 1

    `where`: `cpu`, `cuda`, or `auto` (CUDA on a machine that has it, otherwise the CPU).
    `distribution`: `gaussian`, or `uniform` between `-sqrt(3)` and `sqrt(3)`.
    `matrix_seed`: fixes `B`. The matrix is drawn on the CPU, so that every machine has the same matrix.

    Raises `DfaError` for `cuda` on a machine without CUDA.
    """

    rowwise = True  # a row's projection depends on no other row, scales with it, and no number is drawn

    def __init__(self, where: str = "auto", distribution: str = "gaussian", matrix_seed: int = 0):
        require("device.distribution", distribution)
        self.where = torch.device(resolve(where))
        self.distribution = distribution
        self.matrix_seed = matrix_seed
        self.counts = Counts()

    def prepare(self, n_in: int, n_out: int, compute: torch.device) -> None:
        draw = DISTRIBUTIONS[self.distribution]
        self.feedback = draw(n_in, n_out, generator(self.matrix_seed, "feedback")).to(self.where)
        self.counts = Counts()

    def project(self, error: Tensor) -> Tensor:
        return next(self.project_parts(error, [(0, self.feedback.shape[1])]))

    def project_parts(self, error: Tensor, spans: Sequence[Span]) -> Iterator[Tensor]:
        self.counts.rows += len(error)
        shown, feedback = error.detach().to(self.where), self.feedback.to(error.dtype)
        part = shown.new_empty(0)
        for first, last in spans:
            started = time.perf_counter()
            # New memory of many megabytes for each part would take longer than the product.
            part = matmul(shown, feedback[:, first:last], part.resize_(len(shown), last - first))
            self.counts.seconds += time.perf_counter() - started
            yield part.to(error.device)

    def matrix(self) -> Tensor:
        return self.feedback

    def generators(self) -> Iterable[torch.Generator]:
        return ()

    def state_dict(self) -> dict[str, Tensor]:
        seconds = torch.tensor(self.counts.seconds, dtype=torch.float64)
        return {"matrix": self.feedback, "rows": torch.tensor(self.counts.rows), "seconds": seconds}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.feedback.copy_(state["matrix"])
        self.counts.rows = int(state["rows"])
        self.counts.seconds = float(state.get("seconds", 0.0))  # older checkpoints have no such entry

    def cost(self) -> Cost:
        """Return the totals since `prepare`.

        On CUDA, `measured_seconds` is the time to queue the products: waiting for the results would slow training.
        """
        return Cost(
            rows=self.counts.rows,
            coefficients=self.counts.rows * self.feedback.numel(),
            measured_seconds=self.counts.measured_seconds(),
        )


def _gaussian(n_in: int, n_out: int, draws: torch.Generator) -> Tensor:
    return torch.randn(n_in, n_out, generator=draws)


def _uniform(n_in: int, n_out: int, draws: torch.Generator) -> Tensor:
    return torch.empty(n_in, n_out).uniform_(-(3.0**0.5), 3.0**0.5, generator=draws)


DISTRIBUTIONS = {"gaussian": _gaussian, "uniform": _uniform}
