"""Sends tensors from stage to stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from dfa_cli.parallel.processes import Team, allow_waiting, wait_for
from dfa_cli.parallel.traffic import KINDS, Traffic

Arrival = Callable[[], Tensor]  # waits for a tensor, and returns it


class Link(Protocol):
    """Connects one process with the others. From one process to another, tensors of one kind keep their order."""

    rank: int
    traffic: Traffic

    def send(self, kind: str, to: int, tensor: Tensor) -> None:
        """Begin to send the tensor, which must not change before `flush`."""
        ...

    def expect(self, kind: str, source: int, shape: Sequence[int], dtype: torch.dtype) -> Arrival:
        """Begin to receive a tensor, and return the function that waits for it."""
        ...

    def flush(self) -> None:
        """Wait until everything is sent."""
        ...


class ProcessLink:
    """A link over `torch.distributed`. `device` is the torch device that computes."""

    def __init__(self, team: Team, device: torch.device):
        self.rank = team.rank
        self.device = device
        self.traffic = Traffic()
        self._sends: list[tuple[Any, Tensor]] = []  # the tensors are kept until they are sent
        # Kinds do not wait for one another: NCCL would otherwise send and receive in the order of the calls.
        self._groups: dict[str, Any] = team.connect(
            lambda timeout: {kind: torch.distributed.new_group(timeout=timeout) for kind in KINDS}
        )
        for group in self._groups.values():
            allow_waiting(group)

    def send(self, kind: str, to: int, tensor: Tensor) -> None:
        with self.traffic.timed("sending"):
            tensor = tensor.contiguous()
            work = torch.distributed.isend(tensor, to, group=self._groups[kind])
        self._sends.append((work, tensor))
        self.traffic.count(kind, tensor)

    def expect(self, kind: str, source: int, shape: Sequence[int], dtype: torch.dtype) -> Arrival:
        buffer = torch.empty(*shape, dtype=dtype, device=self.device)
        work: Any = torch.distributed.irecv(buffer, source, group=self._groups[kind])

        def wait() -> Tensor:
            with self.traffic.timed("waiting"):
                self._wait(work)
            return buffer

        return wait

    def flush(self) -> None:
        with self.traffic.timed("sending"):
            while self._sends:
                self._wait(self._sends.pop()[0])

    def _wait(self, work: Any) -> None:
        work.wait() if self.device.type == "cuda" else wait_for(work)
