"""Everything that a run consists of, built from its configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dfa_cli.config.instantiate import build, misfit
from dfa_cli.config.schema import projects
from dfa_cli.data.base import Data
from dfa_cli.devices.base import ProjectionDevice
from dfa_cli.errors import DfaError
from dfa_cli.models.base import Model, Sizes
from dfa_cli.rules.base import LearningRule
from dfa_cli.seeding import generator, stream_seed
from dfa_cli.training import alignment
from dfa_cli.training.batches import Batches
from dfa_cli.training.cached_features import head_start
from dfa_cli.training.loop import Best, Epoch, train
from dfa_cli.training.optimizer import built

THREADS = torch.get_num_threads()  # this process's share, asked before a run sets its own


@dataclass(frozen=True)
class Parts:
    """Everything a run consists of, ready to train."""

    model: Model
    rule: LearningRule
    device: ProjectionDevice
    optimizer: torch.optim.Optimizer
    batches: Batches
    validation: Tensor
    test: Tensor
    generators: dict[str, torch.Generator]
    projects: bool
    schedule: str

    def train(
        self,
        epochs: int,
        patience: int | None = None,
        start: int = 1,
        best: Best = Best(),  # noqa: B008
        seconds: float = 0.0,
    ) -> Iterator[Epoch]:
        """See `dfa_cli.training.loop.train`."""
        model, batches = head_start(self.model, self.rule, self.batches)
        return train(
            model,
            self.rule,
            self.optimizer,
            batches,
            self.validation,
            self.test,
            epochs,
            patience,
            self.schedule,
            start,
            best,
            seconds,
        )

    def frames(self) -> dict[str, int | None]:
        """Frames shown so far; `None` for a rule that projects nothing."""
        return {"frames": self.device.cost().frames if self.projects else None}

    def alignment(self, epoch: int, every: int | None) -> dict[str, float | None]:
        """See `dfa_cli.training.alignment.measure`: in every `every`-th epoch, columns without values in the others."""
        if every is None:
            return {}
        columns = dict.fromkeys(alignment.columns(self.model, self.rule))
        if epoch % every:
            return columns
        device = self.device if self.projects else None
        batch = self.batches.sample()
        return columns | alignment.measure(self.model, self.rule, device, batch, self.generators.values())

    @property
    def state(self) -> tuple[Any, ...]:
        """What changes from epoch to epoch, as `dfa_cli.training.checkpoint` takes it."""
        return self.model, self.rule, self.optimizer, self.device if self.projects else None, self.generators


def assemble(config: Mapping[str, Any], data: Data) -> Parts:
    """Build what the configuration names, each from its own stream of randomness."""
    seed, compute = config["seed"], torch.device(config["compute"])
    torch.set_num_threads(config["threads"] or threads_for(data))
    torch.manual_seed(stream_seed(seed, "layers"))  # layers of other libraries draw from the global generator

    generators = {"order": generator(seed, "order"), "dropout": generator(seed, "dropout", compute)}
    sizes = Sizes(data.x.shape[1], data.classes, generator(seed, "weights"), generators["dropout"])
    model: Model = build(config["model"], sizes).to(compute)
    if config["precision"] == "bf16":
        model.multiply_in(torch.bfloat16)
        if data.edge_index is None:
            data = replace(data, x=data.x.to(torch.bfloat16))  # the first layer would round every batch anew
    device: ProjectionDevice = build(config["device"])
    rule: LearningRule = build(config["rule"])
    rule.prepare(model, data.classes, device, compute)
    try:
        optimizer = built(build(config["optimizer"]), parameter_groups(model, config["decay"]))
    except TypeError as error:
        raise DfaError(misfit(config["optimizer"]["_target_"], error)) from error
    batches = Batches(data, config["batch_size"], generators["order"])
    return Parts(
        model,
        rule,
        device,
        optimizer,
        batches,
        data.validation,
        data.test,
        generators,
        projects(config) and bool(model.widths),
        config["schedule"],
    )


def parameter_groups(model: Model, decay: str) -> list[dict[str, Any]]:
    """For the optimizer. `decay: hidden` spares the last block, as Kipf & Welling (2017) regularise their network."""
    hidden = [parameter for block in model.blocks[:-1] for parameter in block.parameters()]
    last = list(model.blocks[-1].parameters())
    if decay == "all":
        return [{"params": [*hidden, *last]}]
    return [{"params": hidden}, {"params": last, "weight_decay": 0.0}]


def threads_for(data: Data) -> int:
    """One thread for a small graph, whose products are too short to share; else as many as torch would take."""
    return 1 if data.edge_index is not None and data.edge_index.shape[1] < 200_000 else THREADS
