"""Runs all stages of a pipeline in one process, each in a thread, with queues between them."""

from __future__ import annotations

import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dfa_cli.devices import ProjectionDevice
from dfa_cli.models import Batch, Model
from dfa_cli.parallel.stage import BlockwiseStage
from dfa_cli.parallel.traffic import Traffic
from dfa_cli.rules import LearningRule, Step

SECONDS = 120  # the first optical step may compile the read-out first


class QueueLink:
    """A link between threads. `queues` is shared by all of them."""

    def __init__(self, rank: int, queues: dict):
        self.rank, self.queues, self.traffic = rank, queues, Traffic()

    def send(self, kind: str, to: int, tensor: Tensor) -> None:
        self.traffic.count(kind, tensor)
        self.queues[kind, self.rank, to].put(tensor.clone())

    def expect(
        self, kind: str, source: int, shape: Sequence[int], dtype: torch.dtype
    ) -> Callable[[], Tensor]:
        def wait() -> Tensor:
            tensor = self.queues[kind, source, self.rank].get(timeout=SECONDS)
            assert (tuple(tensor.shape), tensor.dtype) == (tuple(shape), dtype)
            return tensor

        return wait

    def flush(self) -> None:
        pass


def train_step(
    build: Callable[[], tuple[Model, LearningRule, ProjectionDevice]],
    batch: Batch,
    stages: Sequence[range],
    micro_batches: int,
    central: bool = False,
) -> tuple[list[Step], dict[str, Tensor], list[Traffic]]:
    """Train one step on stages and micro-batches.

    `build` makes the model, the rule and the device of a stage, which must be equal in all. Returns the step as each
    stage knows it, the gradients by the names of their parameters, and what each stage has sent.
    """
    queues: dict = defaultdict(queue.Queue)
    parts = []
    for rank in range(len(stages)):
        model, rule, device = build()
        link = QueueLink(rank, queues)
        rowwise = getattr(device, "rowwise", False)
        parts.append(BlockwiseStage(model, rule, stages, link, micro_batches, central, rowwise))
    steps: list[Step | None] = [None] * len(stages)

    def run(rank: int) -> None:
        steps[rank] = parts[rank].step(batch)

    threads = [threading.Thread(target=run, args=(rank,), daemon=True) for rank in range(len(stages))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert all(steps), "a stage has failed"
    gradients = {}
    for part in parts:
        for name, parameter in part.model.named_parameters():
            if parameter.grad is not None:
                assert name not in gradients, f"two stages have a gradient of {name}"
                gradients[name] = parameter.grad
    return steps, gradients, [part.link.traffic for part in parts]  # type: ignore[return-value]
