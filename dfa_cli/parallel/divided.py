"""A run of which each process holds a part: some blocks of the model, with their optimizer state and generators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from dfa_cli.devices.base import Cost
from dfa_cli.devices.parts import CountsParts
from dfa_cli.machine.memory import peak_bytes
from dfa_cli.models.base import Model
from dfa_cli.models.batch import Batch
from dfa_cli.parallel.links import Arrival, Link
from dfa_cli.parallel.parts import split_batch
from dfa_cli.parallel.processes import Team
from dfa_cli.parallel.stage import output_type
from dfa_cli.parallel.traffic import EVALUATION
from dfa_cli.rules.base import Step
from dfa_cli.training.setup import Experiment


@dataclass(frozen=True)
class Placement:
    """The chunks into which the blocks are divided, and the rank of the process that owns each."""

    chunks: Sequence[range]
    owners: Sequence[int]

    def blocks_of(self, rank: int) -> list[int]:
        return [
            i for chunk, owner in zip(self.chunks, self.owners, strict=True) if owner == rank for i in chunk
        ]


class StagedModel(Model):
    """A model whose `forward` runs through the processes. Every process gets the logits."""

    def __init__(self, model: Model, placement: Placement, link: Link, micro_batches: int):
        super().__init__(model.blocks)
        self._placement, self._link, self._micro_batches = placement, link, micro_batches

    def forward(self, batch: Batch) -> Tensor:
        chunks, owners, link = self._placement.chunks, self._placement.owners, self._link
        parts = split_batch(batch, self._micro_batches)
        outputs: list[Tensor] = []
        for c, blocks in enumerate(chunks):
            if owners[c] != link.rank:
                continue
            arrivals: list[Arrival] = []
            if c > 0 and owners[c - 1] != link.rank:
                below = self.blocks[blocks.start - 1]
                arrivals = [
                    link.expect(EVALUATION, owners[c - 1], (part.rows, below.width), output_type(below))
                    for part in parts
                ]
            inputs, outputs = outputs, []
            for m, part in enumerate(parts):
                h: Any = arrivals[m]() if arrivals else inputs[m] if c else part.batch.x
                for i in blocks:
                    h = self.output(i, h, part.batch)
                outputs.append(h)
                if c + 1 < len(chunks) and owners[c + 1] != link.rank:
                    link.send(EVALUATION, owners[c + 1], h)
        if owners[-1] == link.rank:
            logits = torch.cat(outputs) if len(outputs) > 1 else outputs[0]
            for rank in set(owners) - {link.rank}:
                link.send(EVALUATION, rank, logits)
        else:
            shape = (len(batch.targets), self.blocks[-1].width)
            logits = link.expect(EVALUATION, owners[-1], shape, output_type(self.blocks[-1]))()
        link.flush()
        return logits


class StagedRule:
    """A rule as the training loop sees it: `backward` computes the part of a step that falls to this process."""

    def __init__(self, step: Callable[[Batch], Step]):
        self._step = step

    def prepare(self, *_: object) -> None:
        """Do nothing: the rule was prepared with the whole model."""

    def backward(self, model: Model, batch: Batch) -> Step:
        return self._step(batch)


@dataclass(frozen=True)
class DividedExperiment(Experiment):
    """An experiment over several processes. Each holds the weights and the optimizer state of its own blocks only."""

    in_one_process = False

    team: Team
    placement: Placement
    link: Link
    initial_device_state: dict[str, Tensor]

    @classmethod
    def of(
        cls,
        whole: Experiment,
        team: Team,
        placement: Placement,
        link: Link,
        micro_batches: int,
        step: Callable[[Batch], Step],
    ) -> DividedExperiment:
        """Divide `whole`. It must not be used afterwards."""
        parts = {field.name: getattr(whole, field.name) for field in fields(Experiment)}
        if 0 not in placement.blocks_of(team.rank):
            # Only the owner of the first block needs the inputs.
            parts["batches"] = whole.batches.with_inputs(
                torch.zeros(len(whole.batches.y), 0, device=whole.batches.y.device)
            )
        parts["model"] = StagedModel(whole.model, placement, link, micro_batches).train(whole.model.training)
        parts["rule"] = StagedRule(step)
        state = whole.device.state_dict() if whole.device is not None else {}
        divided = cls(**parts, team=team, placement=placement, link=link, initial_device_state=_copied(state))
        divided._forget_others()
        return divided

    def epoch_cost(self) -> Cost | None:
        if isinstance(self.device, CountsParts):
            _, *others = self.team.gather_json(self.device.new_counts()) or [0]
            self.device.add_counts(sum(others))
        return super().epoch_cost()

    def _own_parameters(self) -> set[Tensor]:
        return {
            parameter
            for i in self.placement.blocks_of(self.team.rank)
            for parameter in self.model.blocks[i].parameters()
        }

    def _forget_others(self) -> None:
        """Free the parameters and the optimizer state of the blocks that other processes own."""
        own = self._own_parameters()
        for parameter in self.model.parameters():
            if parameter not in own:
                parameter.data = parameter.data.new_empty(0)
                parameter.grad = None
                self.optimizer.state.pop(parameter, None)

    @contextmanager
    def gather_state(self) -> Iterator[None]:
        """Bring the state of all processes together in the one with rank 0, for the block. All processes call it."""
        gathered = self.team.gather(self._own_state())
        if self.team.rank:
            yield
            return
        device = self.device
        device_before = _copied(device.state_dict()) if device is not None else {}
        changed: dict[str, Tensor] = {}
        for state in gathered:
            self._take(state)
            changed |= _below(state, "device.")
        if device is not None:
            mine = self._changed_device_state()
            device.load_state_dict({**device_before, **changed, **mine})
        try:
            yield
        finally:
            if device is not None:
                device.load_state_dict(device_before)
            self._forget_others()

    def _own_state(self) -> dict[str, Tensor]:
        """Return the state of the own blocks: tensors and buffers, optimizer state, generators; and the device's."""
        own = self._own_parameters()
        prefixes = tuple(f"blocks.{i}." for i in self.placement.blocks_of(self.team.rank))
        state = {
            f"model.{name}": value
            for name, value in self.model.state_dict().items()
            if name.startswith(prefixes)
        }
        for index, parameter in enumerate(self._parameters_in_order()):
            for name, value in self.optimizer.state.get(parameter, {}).items() if parameter in own else ():
                if value is not None:
                    state[f"optimizer.{index}.{name}"] = torch.as_tensor(value)
        for name, generator in self.generators.items():
            if name.startswith(prefixes):
                state[f"generator.{name}"] = generator.get_state()
        return state | {f"device.{name}": value for name, value in self._changed_device_state().items()}

    def _changed_device_state(self) -> dict[str, Tensor]:
        """Return what the device of this process has changed since the beginning. Each reads other columns of it."""
        if self.device is None:
            return {}
        before = self.initial_device_state
        return {
            name: value
            for name, value in self.device.state_dict().items()
            if name not in before or not torch.equal(value, before[name])
        }

    def _parameters_in_order(self) -> list[Tensor]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def _take(self, state: dict[str, Tensor]) -> None:
        """Take over the state of another process."""
        where = self.batches.y.device
        model, slots = _below(state, "model."), _below(state, "optimizer.")
        for name, parameter in self.model.named_parameters():
            if name in model:
                parameter.data = model.pop(name).to(where)
        self.model.load_state_dict(model, strict=False)  # the buffers
        for key, value in slots.items():
            index, _, name = key.partition(".")
            parameter = self._parameters_in_order()[int(index)]
            # A step count is a tensor on the CPU, as in torch's own optimizers.
            self.optimizer.state[parameter][name] = value if value.dim() == 0 else value.to(where)
        for name, value in _below(state, "generator.").items():
            self.generators[name].set_state(value)

    def report(self) -> dict[str, Any] | None:
        """Return what travelled, and who computed and waited, by process; `None` in all but the one with rank 0."""
        peak = peak_bytes()
        mine = {
            "blocks": [i + 1 for i in self.placement.blocks_of(self.team.rank)],
            **self.link.traffic.summary(),
            "peak_memory_mb": None if peak is None else peak / 1e6,
        }
        return relative_to_start(self.team.gather_json(mine))


def relative_to_start(stages: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the reports of all processes, with timelines that begin with the step; `None` if there are none.

    The processes of one machine have the same clock.
    """
    begin = min((span["from"] for stage in stages for span in stage["timeline"]), default=0.0)
    for stage in stages:
        for span in stage["timeline"]:
            span["from"], span["to"] = span["from"] - begin, span["to"] - begin
    return {"stages": stages} if stages else None


def _copied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in state.items()}


def _below(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
