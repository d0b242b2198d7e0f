"""One stage of a pipeline for rules whose blocks learn without gradients from other blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from dfa_cli.kernels.vjp import accumulate_vjp
from dfa_cli.models.base import Block, Model
from dfa_cli.models.batch import Batch
from dfa_cli.models.dropout import micro_batches
from dfa_cli.models.forward_state import ForwardState
from dfa_cli.parallel.links import Arrival, Link
from dfa_cli.parallel.parts import MicroBatch, split_batch
from dfa_cli.parallel.traffic import BACKWARD, FORWARD, PROJECTION, RESULT
from dfa_cli.rules.base import KEEP, LearningRule, Step, loss_and_error
from dfa_cli.rules.blockwise import HasFeedback


def output_type(block: Block) -> torch.dtype:
    """Return the type of what a block computes."""
    dtype = getattr(block.layer, "matmul_dtype", None)
    return dtype or next((parameter.dtype for parameter in block.parameters()), torch.float32)


class BlockwiseStage:
    """Some consecutive blocks of a model, which learn from the error as soon as it comes.

    A stage computes its blocks for one micro-batch after another, and sends each output on. The last stage computes the
    errors and sends them to the first. No gradient of an activation is computed or sent. When all its micro-batches
    have passed, a stage computes the weight gradients of one after another. It does not wait for the other stages to
    finish theirs, and takes the next batch.

    The error of a micro-batch goes from each stage that learns from it to the next, so that no stage has to send it to
    all others. A stage passes it on before it learns from it. This costs no time: the next stage was a forward pass
    later to finish all of its own.

    If the rule recomputes activations, a stage holds of each micro-batch only the input of its first block. When the
    error is there, one block after another is computed again, with the same random numbers, and freed before the next.

    `stages`: the blocks of each stage. The stage with the rank of `link` is this one. `central`: only the first stage
    projects, and sends the others the feedback of their blocks. Otherwise each stage projects the error for itself.

    A device may draw noise, or choose its scale from all rows at once. Unless it says that it does not (`rowwise`), it
    is shown the error of the whole batch, so that its numbers do not depend on the micro-batches.
    """

    def __init__(
        self,
        model: Model,
        rule: LearningRule,
        stages: Sequence[range],
        link: Link,
        micro_batches: int,
        central: bool,
        rowwise: bool,
    ):
        self.model, self.rule, self.stages, self.link = model, rule, stages, link
        self.micro_batches = micro_batches
        self.central = central
        self.rowwise = rowwise
        self.index, self.last = link.rank, len(stages) - 1
        self.blocks = stages[self.index]
        self.recomputing = getattr(rule, "activations", KEEP) != KEEP
        self._module = nn.ModuleList(model.blocks[i] for i in self.blocks)
        last_block = len(model.blocks) - 1
        # The hidden blocks of each stage that learn.
        self.learning = [
            [i for i in blocks if i < last_block] if isinstance(rule, HasFeedback) else []
            for blocks in stages
        ]
        self.projecting = [
            stage for stage, blocks in enumerate(self.learning) if blocks and (stage == 0 or not central)
        ]
        # The way of an error: from the last stage, which computes it, to the first, and from each to the next.
        hops = list(pairwise([self.last, *(stage for stage in self.projecting if stage != self.last)]))
        self.error_from = next((source for source, to in hops if to == self.index), None)
        self.error_to = next((to for source, to in hops if source == self.index), None)

    def step(self, batch: Batch) -> Step:
        """Leave the gradients of this stage's blocks in `.grad`. The result is that of the whole batch."""
        parts = split_batch(batch, self.micro_batches)
        blocks = self._module if len(parts) > 1 else []
        with self.link.traffic.step(len(batch.y)), micro_batches(blocks, len(batch.y)):
            return self._step(batch, parts)

    def _step(self, batch: Batch, parts: list[MicroBatch]) -> Step:
        inputs = self._expect_inputs(parts)
        errors = self._expect_errors(parts)
        before = ForwardState(self._module, batch.y.device) if self.recomputing else None
        held: list[_Kept | _Recomputed] = []
        results: list[Step] = []
        for m, part in enumerate(parts):
            h = inputs[m]() if inputs else part.batch.x
            with self._computing("forward", m):
                held.append(_Recomputed(self, h, part) if self.recomputing else _Kept())
                out = self._forward(h, part, held[-1])
            if self.index < self.last:
                self.link.send(FORWARD, self.index + 1, out.detach())
                continue
            with self._computing("loss", m):
                result, error = loss_and_error(out, part.batch.targets)
            results.append(result)
            errors.append(lambda error=error: error)
            self._pass_on(error)
            del h, out
        step, ranks = None, set(range(len(self.stages)))
        if results:  # The other stages need the result, but not the weight gradients of this one.
            step = share_result(join(results, parts), self.link, self.last, ranks)
        if before is None:
            # The last block needs only the error, which is there. The others may have to wait.
            self._teach_last_block(held, parts, errors)
            self._teach_hidden_blocks(held, batch, parts, errors)
        else:
            with before.again(), micro_batches(self._module if len(parts) > 1 else [], len(batch.y)):
                self._teach_hidden_blocks(held, batch, parts, errors)
                self._teach_last_block(held, parts, errors)
        step = step or share_result(None, self.link, self.last, ranks)
        self.link.flush()
        return step

    def _computing(self, what: str, micro_batch: int) -> AbstractContextManager[None]:
        return self.link.traffic.computing(what, micro_batch, self.index)

    def _expect_inputs(self, parts: list[MicroBatch]) -> list[Arrival]:
        if self.index == 0:
            return []
        below = self.model.blocks[self.blocks.start - 1]
        return [
            self.link.expect(FORWARD, self.index - 1, (part.rows, below.width), output_type(below))
            for part in parts
        ]

    def _expect_errors(self, parts: list[MicroBatch]) -> list[Arrival]:
        if self.error_from is None:
            return []
        width, dtype = self.model.blocks[-1].width, output_type(self.model.blocks[-1])
        arrivals = [
            self.link.expect(BACKWARD, self.error_from, (len(part.batch.targets), width), dtype)
            for part in parts
        ]
        return [lambda arrival=arrival: self._pass_on(arrival()) for arrival in arrivals]

    def _pass_on(self, error: Tensor) -> Tensor:
        """Send the error to the next stage that learns from it, if there is one. Return the error."""
        if self.error_to is not None:
            self.link.send(BACKWARD, self.error_to, error)
        return error

    def block_output(self, i: int, h: Any, part: MicroBatch, graph: bool = True) -> Tensor:
        """Compute a block of this stage, with the graph that its weight gradient needs, if it learns."""
        learns = i in self.learning[self.index] or i == len(self.model.blocks) - 1
        with torch.set_grad_enabled(graph and learns):
            return self.model.output(i, h.detach() if isinstance(h, Tensor) else h, part.batch)

    def _forward(self, h: Any, part: MicroBatch, held: _Kept | _Recomputed) -> Tensor:
        for i in self.blocks:
            h = self.block_output(i, h, part, graph=not self.recomputing)
            if isinstance(held, _Kept):
                held.outputs[i] = h
        return h

    def _teach_last_block(
        self, held: list[_Kept | _Recomputed], parts: list[MicroBatch], errors: list[Arrival]
    ) -> None:
        for m, part in enumerate(parts if self.index == self.last else []):
            with self._computing("backward", m):
                accumulate_vjp(held[m].take(len(self.model.blocks) - 1), _weighted(errors[m](), part))

    def _teach_hidden_blocks(
        self,
        held: list[_Kept | _Recomputed],
        batch: Batch,
        parts: list[MicroBatch],
        errors: list[Arrival],
    ) -> None:
        if not self.rowwise and len(parts) > 1:
            if self.index in self.projecting:
                error = torch.cat([_weighted(e(), part) for e, part in zip(errors, parts, strict=True)])
            else:
                error = None
            for block, signal in self._feedback(error, batch, len(batch.y), len(parts)):
                for m, part in enumerate(parts):
                    with self._computing("backward", m):
                        accumulate_vjp(held[m].take(block), signal[part.first : part.last])
            return
        for m, part in enumerate(parts):
            error = errors[m]() if self.index in self.projecting else None
            for block, signal in self._feedback(error, part.batch, part.rows, m):
                with self._computing("backward", m):
                    if part.weight != 1.0:
                        signal.mul_(part.weight)
                    accumulate_vjp(held[m].take(block), signal)

    def _feedback(
        self, error: Tensor | None, batch: Batch, rows: int, m: int
    ) -> Iterator[tuple[int, Tensor]]:
        """Yield each hidden block of this stage with its feedback `[rows, width]`."""
        mine = self.learning[self.index]
        if error is None:
            arrivals = [
                self.link.expect(
                    PROJECTION, 0, (rows, self.model.blocks[i].width), output_type(self.model.blocks[-1])
                )
                for i in mine
            ]
            for i, arrival in zip(mine, arrivals, strict=True):
                yield i, arrival()
            return
        assert isinstance(self.rule, HasFeedback)
        others = [
            (stage, i)
            for stage, blocks in enumerate(self.learning)
            for i in blocks
            if self.central and stage != self.index
        ]
        with self._computing("projection", m):
            signals = self.rule.feedback(error, batch, rows, [*(i for _, i in others), *mine])
        # The other stages wait for theirs, so they come first.
        for stage, _ in others:
            with self._computing("projection", m):
                signal = next(signals)
            self.link.send(
                PROJECTION, stage, signal.clone()
            )  # The device may write the next one into its memory.
        for i in mine:
            with self._computing("projection", m):
                signal = next(signals)
            yield i, signal


class _Kept:
    """The outputs of the blocks of a stage for one micro-batch, each until its block learns."""

    def __init__(self) -> None:
        self.outputs: dict[int, Tensor] = {}

    def take(self, block: int) -> Tensor:
        return self.outputs.pop(block)


class _Recomputed:
    """The input of a stage for one micro-batch, from which its blocks are computed again, in their order."""

    def __init__(self, stage: BlockwiseStage, h: Any, part: MicroBatch):
        self.stage, self.h, self.part = stage, h, part
        self._next = stage.blocks.start

    def take(self, block: int) -> Tensor:
        for i in range(self._next, block + 1):
            self.h = self.stage.block_output(i, self.h, self.part)
        self._next = block + 1
        output, self.h = self.h, self.h.detach()
        return output


def share_result(step: Step | None, link: Link, owner: int, ranks: set[int]) -> Step:
    """Return the result of a step, which the process `owner` knows, in all of `ranks`."""
    if step is None:
        loss, correct = link.expect(RESULT, owner, (2,), torch.float32)()
        return Step(loss, correct)
    both = torch.stack([step.loss.float(), step.correct.float()])
    for rank in ranks - {owner}:
        link.send(RESULT, rank, both)
    return step


def join(results: list[Step], parts: list[MicroBatch]) -> Step:
    """Return the mean loss and the hits of a batch from those of its micro-batches."""
    if len(results) == 1:
        return results[0]
    weights = torch.tensor([part.weight for part in parts])
    losses = torch.stack([result.loss for result in results])
    return Step(
        (losses * weights.to(losses)).sum(), torch.stack([result.correct for result in results]).sum()
    )


def _weighted(signal: Tensor, part: MicroBatch) -> Tensor:
    """Turn a signal of the micro-batch's mean loss into one of the batch's."""
    return signal if part.weight == 1.0 else signal * part.weight
