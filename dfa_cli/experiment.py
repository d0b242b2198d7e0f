"""One run, from the configuration to the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from torch import Tensor

from dfa_cli.data.base import Data
from dfa_cli.data.source import Source
from dfa_cli.devices.base import ProjectionDevice
from dfa_cli.devices.digital import resolve
from dfa_cli.errors import DfaError
from dfa_cli.models.base import Model, Sizes
from dfa_cli.progress import Progress
from dfa_cli.provenance import provenance
from dfa_cli.results.record import Record
from dfa_cli.rules.base import LearningRule
from dfa_cli.schema import identity, without_facts
from dfa_cli.seeding import generator, stream_seed
from dfa_cli.training.batches import Batches
from dfa_cli.training.loop import train
from dfa_cli.training.weights import save_weights

STREAMS = ("weights", "order", "dropout", "layers")


def run(
    config: dict[str, Any], folder: Path, choices: Mapping[str, str], overrides: Sequence[str]
) -> dict[str, Any]:
    """Train one model and record it in `folder`; returns the content of `run.json`.

    `config` is plain and resolved; `choices` names the option of each group; `overrides` are the user's words. The
    same configuration gives the same bits on the same CPU. Raises `DfaError` for what the user can mend, after it
    is in the record.
    """
    config = settle(config)
    head = {
        "id": config["run_id"],
        "identity": identity(config),
        "choices": dict(choices),
        "overrides": list(overrides),
        "config": config,
        "data_fallback": config["data_fallback"],
        "provenance": provenance(),
    }
    with Record(folder, head) as record, Progress(config, choices) as progress:
        with record.timed("data_seconds"):
            source = Source.from_config(config["data_dir"], config["mirrors"], warn=progress.note)
            data = build(config["data"]).load(source).to(config["compute"])
        record.update(provenance=conditions(config, data))

        parts = assemble(config, data)
        with record.timed("train_seconds"):
            for epoch in parts.train(config["epochs"], config["patience"]):
                record.epoch(asdict(epoch), data.split, data.sizes)
                progress.epoch(epoch)
        if projects(config):
            record.update(projection=asdict(parts.device.cost()))
        save_weights(folder / "weights.safetensors", parts.model, parts.device if projects(config) else None)
        record.complete()
    progress.summary(record.content, folder)
    return record.content


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

    def train(self, epochs: int, patience: int | None = None):
        """See `dfa_cli.training.loop.train`."""
        return train(self.model, self.rule, self.optimizer, self.batches, self.validation, self.test, epochs, patience)


def assemble(config: Mapping[str, Any], data: Data) -> Parts:
    """Build what the configuration names, each from its own stream of randomness."""
    seed, compute = config["seed"], torch.device(config["compute"])
    torch.set_num_threads(config["threads"] or threads_for(data))
    torch.manual_seed(stream_seed(seed, "layers"))  # layers of other libraries draw from the global generator

    sizes = Sizes(
        data.x.shape[1], data.classes, generator(seed, "weights"), generator(seed, "dropout", compute)
    )
    model: Model = build(config["model"], sizes).to(compute)
    device: ProjectionDevice = build(config["device"])
    rule: LearningRule = build(config["rule"])
    rule.prepare(model, data.classes, device, compute)
    optimizer = build(config["optimizer"])(parameter_groups(model, config["decay"]))
    batches = Batches(data, config["batch_size"], generator(seed, "order"))
    return Parts(model, rule, device, optimizer, batches, data.validation, data.test)


def parameter_groups(model: Model, decay: str) -> list[dict[str, Any]]:
    """For the optimizer. `decay: hidden` spares the last block, as Kipf & Welling (2017) regularise their network."""
    hidden = [parameter for block in model.blocks[:-1] for parameter in block.parameters()]
    last = {"params": list(model.blocks[-1].parameters())}
    if decay == "hidden":
        last["weight_decay"] = 0.0
    return [{"params": hidden}, last]


def build(node: Mapping[str, Any], *arguments: Any) -> Any:
    """The object that a group's `_target_` names. A `DfaError` raised in its constructor comes out as it is."""
    from hydra.errors import InstantiationException

    try:
        return instantiate(without_facts(node), *arguments)
    except InstantiationException as error:
        if isinstance(error.__cause__, DfaError):
            raise error.__cause__ from None
        raise


def settle(config: dict[str, Any]) -> dict[str, Any]:
    """Every `auto` replaced by what this machine has. Raises `DfaError` when it lacks what was asked for."""
    device = dict(config["device"])
    if "where" in device:
        device["where"] = resolve(device["where"])
    compute = config["compute"]
    if compute == "auto":
        # a digital device trains where it projects; a simulated one, wherever is fastest
        compute = device.get("where") or resolve("auto")
    return {**config, "device": device, "compute": resolve(compute)}


def projects(config: Mapping[str, Any]) -> bool:
    """Whether the rule asks the projection device for anything."""
    return config["rule"].get("needs") != "nothing"


def threads_for(data: Data) -> int:
    """One thread for a small graph, whose products are too short to share; else as many as torch would take."""
    return 1 if data.edge_index is not None and data.edge_index.shape[1] < 200_000 else torch.get_num_threads()


def conditions(config: Mapping[str, Any], data: Data) -> dict[str, Any]:
    """What a repetition has to have the same, besides the configuration."""
    seeds = {name: stream_seed(config["seed"], name) for name in STREAMS}
    for name in ("matrix_seed", "noise_seed"):
        if name in config["device"]:
            seeds[name] = config["device"][name]
    return {
        "threads": config["threads"] or threads_for(data),
        "compute": config["compute"],
        "seeds": seeds,
        "deterministic": config["compute"] == "cpu",
        "data_checksums": dict(data.checksums),
    }
