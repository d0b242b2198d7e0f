"""The whole model in several processes, each of which computes some rows of every batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch._C._distributed_c10d import GradBucket

from dfa_cli.config.bounds import require
from dfa_cli.devices.base import Counts, ProjectionDevice
from dfa_cli.errors import DfaError
from dfa_cli.kernels.vjp import accumulate_vjp
from dfa_cli.machine.memory import peak_bytes
from dfa_cli.models.base import Model
from dfa_cli.models.batch import Batch
from dfa_cli.models.dropout import micro_batches
from dfa_cli.parallel.checks import require_divisible_rows, require_divisible_rule
from dfa_cli.parallel.divided import StagedRule, relative_to_start
from dfa_cli.parallel.parts import MicroBatch, split_batch
from dfa_cli.parallel.processes import Team
from dfa_cli.parallel.traffic import ALL_REDUCE, BACKWARD, RESULT, Traffic
from dfa_cli.rules.backpropagation import Backpropagation
from dfa_cli.rules.base import LearningRule, Step, loss_and_error
from dfa_cli.rules.blockwise import HasFeedback
from dfa_cli.training.setup import Experiment


class DataParallel:
    """Divides the rows of every batch over `replicas` processes, each of which holds the whole model.

    Each process computes the gradients of its rows, and all add theirs up before the step of the optimizer. Masks and
    noise are drawn for the whole batch, so the results do not depend on `replicas`, up to the order of sums.

    Backpropagation uses torch's `DistributedDataParallel`. With the other rules a block does not wait for the blocks
    above it, so its sum begins as soon as its own gradient is there.
    """

    part = "Replica"

    def __init__(self, replicas: int = 2):
        require("parallel.replicas", replicas)
        self.processes = replicas

    def require(self, config: Mapping[str, Any]) -> None:
        """Raise `DfaError` for options that do not go together. This is called before the data are read."""
        if config["alignment_every"] is not None:
            raise DfaError(
                "parallel=data cannot measure the alignment. Use alignment_every=null or parallel=none."
            )

    def require_divisible(self, experiment: Experiment, choices: Mapping[str, str]) -> None:
        """Raise `DfaError` for an experiment that cannot be divided. This is called before a process is started."""
        require_divisible_rule(experiment.rule, str(choices.get("rule")), "data")
        require_divisible_rows(experiment, "parallel.replicas", self.processes, "parallel=none")

    def divide(self, experiment: Experiment, team: Team) -> Experiment:
        """Return the part of the experiment that this process computes. Every process calls it."""
        rule = experiment.rule
        traffic = Traffic()
        replica = Replica(experiment.model, rule, team, traffic, experiment.device)
        parts = {field.name: getattr(experiment, field.name) for field in fields(Experiment)}
        parts["rule"] = StagedRule(replica.step)
        return ReplicatedExperiment(**parts, team=team, traffic=traffic)


class Replica:
    """Computes the rows of this process in a training step, and adds up the gradients of all processes."""

    def __init__(
        self, model: Model, rule: LearningRule, team: Team, traffic: Traffic, device: ProjectionDevice | None
    ):
        self.model, self.rule, self.team, self.traffic = model, rule, team, traffic
        self.device = device
        self.rowwise = getattr(device, "rowwise", False)
        self._backward: Callable[[MicroBatch, Batch], Step] = self._backward_by_blocks
        if isinstance(rule, Backpropagation):
            from torch.nn.parallel import DistributedDataParallel

            self._parallel = DistributedDataParallel(_Whole(model))
            self._parallel.register_comm_hook(None, lambda _, bucket: self._sum_of_bucket(bucket))
            self._backward = self._backward_by_torch

    def step(self, batch: Batch) -> Step:
        """Leave the gradients of the whole batch in `.grad`. The result is that of the whole batch."""
        part = split_batch(batch, self.team.size, exactly=True)[self.team.rank]
        with self.traffic.step(len(batch.y)), micro_batches(self.model.blocks, len(batch.y), part.first):
            step = self._backward(part, batch)
            return self._joined(step, part)

    def _backward_by_torch(self, part: MicroBatch, _: Batch) -> Step:
        with self.traffic.computing("forward", 0, self.team.rank):
            logits = self._parallel(part.batch)
            step, error = self._loss(logits, part)
        with self.traffic.computing("backward", 0, self.team.rank):
            torch.autograd.backward(logits, error * part.weight)
        return step

    def _sum_of_bucket(self, bucket: GradBucket) -> torch.futures.Future[Tensor]:
        """Add up a bucket of gradients. Torch's own hook would take the mean."""
        self.traffic.count(ALL_REDUCE, bucket.buffer())
        work: Any = distributed.all_reduce(bucket.buffer(), async_op=True)
        return work.get_future().then(lambda future: future.value()[0])

    def _backward_by_blocks(self, part: MicroBatch, batch: Batch) -> Step:
        """Compute the gradients for rules that train each block alone.

        The gradients of a block are added up over the processes while those of the next block are computed.
        """
        hidden = list(range(len(self.model.blocks) - 1)) if isinstance(self.rule, HasFeedback) else []
        outputs: list[Tensor] = []
        h = part.batch.x
        with self.traffic.computing("forward", 0, self.team.rank):
            for i in range(len(self.model.blocks)):
                with torch.set_grad_enabled(i in hidden or i == len(self.model.blocks) - 1):
                    h = self.model.output(i, h.detach() if isinstance(h, Tensor) else h, part.batch)
                outputs.append(h)
            step, error = self._loss(outputs[-1], part)
        sums = []
        with self.traffic.computing("backward", 0, self.team.rank):
            accumulate_vjp(outputs[-1], error * part.weight)
        sums += self._begin_sums(self.model.blocks[-1])
        signals = self._feedback(error, part, batch)
        for i in hidden:
            with self.traffic.computing("projection", 0, self.team.rank):
                signal = next(signals)
            with self.traffic.computing("backward", 0, self.team.rank):
                accumulate_vjp(outputs[i], signal)
            sums += self._begin_sums(self.model.blocks[i])
        with self.traffic.timed("waiting"):
            for work in sums:
                work.wait()
        return step

    def _loss(self, logits: Tensor, part: MicroBatch) -> tuple[Step, Tensor]:
        if part.rows:
            return loss_and_error(logits, part.batch.targets)
        return Step(logits.new_zeros(()), logits.new_zeros((), dtype=torch.int64)), torch.zeros_like(logits)

    def _feedback(self, error: Tensor, part: MicroBatch, batch: Batch) -> Iterator[Tensor]:
        """Yield the feedback of each hidden block for the rows of this process."""
        if not isinstance(self.rule, HasFeedback):
            return iter(())
        if self.rowwise:
            signals = self.rule.feedback(error, part.batch, part.rows)
            if isinstance(counts := getattr(self.device, "counts", None), Counts):
                # The other processes project the other rows, and the record counts those of the run.
                counts.rows += len(batch.y) - part.rows
            return (signal * part.weight for signal in signals)
        # The device is shown the errors of all rows, so its noise does not depend on the number of processes.
        whole = error.new_zeros(len(batch.y), error.shape[1])
        whole[part.first : part.last] = error * part.weight
        self._sum(whole, BACKWARD)
        signals = self.rule.feedback(whole, batch, len(batch.y))
        return (signal[part.first : part.last] for signal in signals)

    def _begin_sums(self, block: nn.Module) -> list[Any]:
        """Begin to add up the gradients of a block over the processes. Return the operations to wait for."""
        sums = []
        with self.traffic.timed("sending"):
            for parameter in block.parameters():
                if parameter.grad is not None:
                    self.traffic.count(ALL_REDUCE, parameter.grad)
                    sums.append(distributed.all_reduce(parameter.grad, async_op=True))
        return sums

    def _sum(self, tensor: Tensor, kind: str) -> None:
        self.traffic.count(kind, tensor)
        with self.traffic.timed("waiting"):
            distributed.all_reduce(tensor)

    def _joined(self, step: Step, part: MicroBatch) -> Step:
        """Add up the loss and the number of correct rows over the processes."""
        both = torch.stack([step.loss.float() * part.weight, step.correct.float()])
        self._sum(both, RESULT)
        return Step(both[0], both[1])


class _Whole(nn.Module):
    """A model as `DistributedDataParallel` calls it."""

    def __init__(self, model: Model):
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> Tensor:
        return self.model(batch)


@dataclass(frozen=True)
class ReplicatedExperiment(Experiment):
    """An experiment whose processes all hold the whole state."""

    in_one_process = False

    team: Team
    traffic: Traffic

    def gather_state(self) -> AbstractContextManager[None]:
        return nullcontext()

    def report(self) -> dict[str, Any] | None:
        """Return what travelled, and who computed and waited, by process; `None` in all but the one with rank 0."""
        peak = peak_bytes()
        blocks = list(range(1, len(self.model.blocks) + 1))
        mine = {
            "blocks": blocks,
            **self.traffic.summary(),
            "peak_memory_mb": None if peak is None else peak / 1e6,
        }
        return relative_to_start(self.team.gather_json(mine))
