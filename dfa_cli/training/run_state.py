"""The state of a run between two steps, to be copied and put back while the run goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dfa_cli.devices.base import Counts, Replayable
from dfa_cli.models.forward_state import generators as generators_of
from dfa_cli.rules.base import HasGenerators, Stateful
from dfa_cli.training.setup import Experiment

MEASURED = "seconds"  # the entry of a device's state in which equal steps differ


@dataclass(frozen=True)
class Moment:
    """A copy of everything that a training step changes."""

    tensors: list[Tensor]
    generators: list[Tensor]
    parts: list[dict[str, Tensor]]

    def numbers(self) -> list[Any]:
        """Return what equal steps leave equal: everything but the time that a device has taken."""
        parts = [{name: value for name, value in part.items() if name != MEASURED} for part in self.parts]
        return [self.tensors, self.generators, parts]


class RunState:
    """The state of a run between two steps. It is copied, and put back into the same tensors and generators."""

    def __init__(self, experiment: Experiment, sums: Sequence[Tensor]):
        self.experiment, self.sums = experiment, sums
        found = (experiment.device, experiment.rule)
        self.parts = [part for part in found if isinstance(part, Stateful)]
        self.counts = experiment.device.counts if isinstance(experiment.device, Replayable) else Counts()

    def rates(self) -> list[Tensor]:
        return [group["lr"] for group in self.experiment.optimizer.param_groups]

    def tensors(self) -> list[Tensor]:
        model, optimizer = self.experiment.model, self.experiment.optimizer
        slots = [value for slots in optimizer.state.values() for value in slots.values()]
        found = [*model.parameters(), *model.buffers(), *slots, *self.rates(), *self.sums]
        return [tensor for tensor in found if isinstance(tensor, Tensor)]

    def generators(self) -> list[torch.Generator]:
        """Return all from which a step may draw, torch's global ones included."""
        device, rule = self.experiment.device, self.experiment.rule
        found = [torch.default_generator, *generators_of(self.experiment.model).values()]
        if self.experiment.batches.y.device.type == "cuda":
            found.append(torch.cuda.default_generators[torch.cuda.current_device()])
        if isinstance(device, Replayable):
            found += device.generators()
        if isinstance(rule, HasGenerators):
            found += rule.generators()
        return found

    @torch.no_grad()
    def copy(self) -> Moment:
        return Moment(
            [tensor.clone() for tensor in self.tensors()],
            [generator.get_state() for generator in self.generators()],
            [{name: value.clone() for name, value in part.state_dict().items()} for part in self.parts],
        )

    @torch.no_grad()
    def restore(self, moment: Moment) -> None:
        for tensor, value in zip(self.tensors(), moment.tensors, strict=True):
            tensor.copy_(value)
        for part, values in zip(self.parts, moment.parts, strict=True):
            part.load_state_dict(values)
        for generator, value in zip(self.generators(), moment.generators, strict=True):
            generator.set_state(value)
