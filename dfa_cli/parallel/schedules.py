"""Backpropagation through the stages of a pipeline, in the order of one of torch's schedules."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.pipelining import (
    PipelineStage,
    Schedule1F1B,
    ScheduleGPipe,
    ScheduleInterleaved1F1B,
    ScheduleInterleavedZeroBubble,
    ScheduleZBVZeroBubble,
    schedules,
)
from torch.nn.functional import pad

from dfa_cli.models.base import Model
from dfa_cli.models.batch import Batch
from dfa_cli.models.dropout import micro_batches
from dfa_cli.parallel.divided import Placement
from dfa_cli.parallel.links import Link
from dfa_cli.parallel.parts import MicroBatch, split_batch
from dfa_cli.parallel.processes import wait_for
from dfa_cli.parallel.stage import join, output_type, share_result
from dfa_cli.parallel.traffic import BACKWARD, FORWARD, Traffic
from dfa_cli.rules.base import Step, labelled_rows, loss_and_error, scatter_to_rows

SCHEDULES: dict[str, Any] = {
    "gpipe": ScheduleGPipe,
    "1f1b": Schedule1F1B,
    "interleaved": ScheduleInterleaved1F1B,
    "zero-bubble": ScheduleInterleavedZeroBubble,
    "zbv": ScheduleZBVZeroBubble,
}
SINGLE = ("gpipe", "1f1b")  # schedules whose stages are one chunk each, which they take without a list


class ScheduledBackpropagation:
    """The chunks of this process, trained by the true gradients.

    A chunk sends its outputs to the next one, and the gradients of its inputs to the one before. All micro-batches of a
    batch have the same number of rows on their way, as torch's stages need it. A smaller one is filled up with rows
    that no block computes. The shapes are given to torch, since it would otherwise find them with a further forward
    pass, which draws random numbers.
    """

    def __init__(self, model: Model, placement: Placement, link: Link, micro_batches: int, schedule: str):
        self.model, self.placement, self.link = model, placement, link
        self.micro_batches = micro_batches
        self.schedule = schedule
        self._schedules: dict[int, tuple[Any, list[_Stage]]] = {}  # by the number of rows of a micro-batch

    def step(self, batch: Batch) -> Step:
        """Leave the gradients of this process's blocks in `.grad`. The result is that of the whole batch."""
        parts = split_batch(batch, self.micro_batches, exactly=True)
        rows = parts[0].rows
        if rows not in self._schedules:
            self._schedules[rows] = self._make_schedule(rows, batch.y.device)
        schedule, stages = self._schedules[rows]
        traffic = self.link.traffic
        computed = traffic.seconds["computing"]
        with ExitStack() as stack:
            stack.enter_context(traffic.step(len(batch.y)))
            if len(parts) > 1:
                stack.enter_context(
                    micro_batches(
                        [self.model.blocks[i] for i in self.placement.blocks_of(self.link.rank)], len(batch.y)
                    )
                )
            for stage in stages:
                stage.chunk.parts = parts
            # Torch divides its input and its target into micro-batches, so it gets a placeholder for both. The chunks
            # and the loss take their micro-batches from `parts`.
            placeholder = torch.empty(rows * len(parts), 1, device=batch.y.device)
            began = time.perf_counter()
            first = [placeholder] if any(stage.is_first for stage in stages) else []
            target = placeholder if any(stage.is_last for stage in stages) else None
            schedule.step(*first, target=target, return_outputs=False)
            traffic.seconds["waiting"] += (
                time.perf_counter() - began - (traffic.seconds["computing"] - computed)
            )
            results = [result for stage in stages for result in stage.chunk.results]
            step = join(results, [part for part in parts if part.rows]) if results else None
            step = share_result(step, self.link, self.placement.owners[-1], set(self.placement.owners))
            self.link.flush()
        for stage in stages:
            stage.chunk.results = []
        return step

    def _make_schedule(self, rows: int, device: torch.device) -> tuple[Any, list[_Stage]]:
        """Make torch's schedule for micro-batches of so many rows."""
        # When another process has ended, torch would print all steps of the schedule. The run names that process.
        logging.getLogger(schedules.__name__).setLevel(logging.CRITICAL)
        if device.type != "cuda":  # torch would wait for a message of gloo for a few seconds only
            schedules._wait_batch_p2p = _wait_for_all
        chunks = self.placement.chunks
        stages = [
            _Stage(self.model, c, chunks, rows, device, self.link.traffic)
            for c, owner in enumerate(self.placement.owners)
            if owner == self.link.rank
        ]
        made = SCHEDULES[self.schedule](
            stages[0] if self.schedule in SINGLE else stages,
            self.micro_batches,
            loss_fn=stages[-1].chunk.loss,
            scale_grads=False,
        )
        return made, stages


def _wait_for_all(works: Iterable[Any]) -> None:
    for work in works:
        wait_for(work)


class _Chunk(nn.Module):
    """Some consecutive blocks, as torch calls them for one micro-batch after another."""

    def __init__(self, model: Model, blocks: range):
        super().__init__()
        self.blocks = nn.ModuleList(model.blocks[i] for i in blocks)
        self.is_first = blocks.start == 0
        self.parts: list[MicroBatch] = []
        self.micro_batch = 0
        self.results: list[Step] = []

    def forward(self, h: Tensor) -> Tensor:
        part = self.parts[self.micro_batch]
        rows = len(h)
        x: Any = part.batch.x if self.is_first else h if part.rows == rows else h[: part.rows]
        for block in self.blocks:
            x = block(x, part.batch.graph)
        return x if part.rows == rows else pad(x, (0, 0, 0, rows - part.rows))

    def loss(self, output: Tensor, _: Tensor) -> Tensor:
        part = self.parts[self.micro_batch]
        if not part.rows:
            return output.sum() * 0.0
        logits = output if part.rows == len(output) else output[: part.rows]
        return _Loss.apply(logits, part, self.results)  # type: ignore[no-any-return]


class _Loss(torch.autograd.Function):
    """The loss of a micro-batch, as its share of the batch's. Its gradient is the error, computed as all rules do."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, part: MicroBatch, results: list[Step]) -> Tensor:
        result, error = loss_and_error(labelled_rows(logits, part.batch), part.batch.targets)
        results.append(result)
        signal = scatter_to_rows(error, part.batch, len(logits))
        ctx.save_for_backward(signal if part.weight == 1.0 else signal * part.weight)
        return result.loss * part.weight

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor, None, None]:
        (signal,) = ctx.saved_tensors
        return signal, None, None


class _Stage(PipelineStage):
    """A stage of torch that tells its chunk which micro-batch comes, counts what it sends and measures its time."""

    def __init__(self, model: Model, c: int, chunks: Any, rows: int, device: torch.device, traffic: Traffic):
        self.chunk = _Chunk(model, chunks[c])
        self.traffic = traffic
        if c == 0:
            inputs = torch.empty(rows, 1, device=device)
        else:
            below = model.blocks[chunks[c].start - 1]
            inputs = torch.empty(
                rows, below.width, dtype=output_type(below), device=device, requires_grad=True
            )
        last = model.blocks[chunks[c].stop - 1]
        outputs = torch.empty(rows, last.width, dtype=output_type(last), device=device, requires_grad=True)
        super().__init__(self.chunk, c, len(chunks), device, input_args=inputs, output_args=outputs)

    def forward_one_chunk(self, fwd_chunk_id: int, *args: Any, **kwargs: Any) -> Any:
        self.chunk.micro_batch = fwd_chunk_id
        with self.traffic.computing("forward", fwd_chunk_id, self.stage_index):
            return super().forward_one_chunk(fwd_chunk_id, *args, **kwargs)

    def backward_one_chunk(self, bwd_chunk_id: int, *args: Any, **kwargs: Any) -> Any:
        with self.traffic.computing("backward", bwd_chunk_id, self.stage_index):
            return super().backward_one_chunk(bwd_chunk_id, *args, **kwargs)

    def backward_weight_one_chunk(self, bwd_chunk_id: int, *args: Any, **kwargs: Any) -> Any:
        with self.traffic.computing("weights", bwd_chunk_id, self.stage_index):
            return super().backward_weight_one_chunk(bwd_chunk_id, *args, **kwargs)

    def _get_init_p2p_neighbors_ops(self) -> Any:
        # Torch 2.11 greets all neighbours first. With zbv one may be in this process, to which gloo has no connection.
        return [one for one in super()._get_init_p2p_neighbors_ops() if one.group_peer != self.group_rank]

    def get_fwd_send_ops(self, fwd_chunk_id: int) -> Any:
        return self._counted(FORWARD, super().get_fwd_send_ops(fwd_chunk_id))

    def get_bwd_send_ops(self, bwd_chunk_id: int) -> Any:
        return self._counted(BACKWARD, super().get_bwd_send_ops(bwd_chunk_id))

    def _counted(self, kind: str, operations: Any) -> Any:
        for operation in operations:
            self.traffic.count(kind, operation.tensor)
        return operations
