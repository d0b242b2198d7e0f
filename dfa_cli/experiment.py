"""One run, from the configuration to the record."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from torch import Tensor

from dfa_cli.compute import settle
from dfa_cli.data.base import Data
from dfa_cli.data.source import Source
from dfa_cli.devices.base import ProjectionDevice
from dfa_cli.errors import DfaError
from dfa_cli.memory import keep_freed
from dfa_cli.models.base import Model, Sizes
from dfa_cli.own_code import let_import, missing, not_found
from dfa_cli.progress import Progress, note
from dfa_cli.provenance import code_state, provenance
from dfa_cli.results.record import Record, plainly, rows_until
from dfa_cli.rules.base import LearningRule
from dfa_cli.schema import identity, projects, without_facts
from dfa_cli.seeding import generator, stream_seed
from dfa_cli.training import CHECKPOINT, alignment
from dfa_cli.training.batches import Batches
from dfa_cli.training.checkpoint import load_checkpoint, save_checkpoint
from dfa_cli.training.frozen import head_start
from dfa_cli.training.loop import Best, Epoch, train
from dfa_cli.training.optimizer import built
from dfa_cli.training.weights import save_weights

STREAMS = ("weights", "order", "dropout", "layers")
THREADS = torch.get_num_threads()  # this process's share, asked before a run sets its own
code_state()  # asked now, while the files are those that this process has read


def run(
    config: dict[str, Any],
    folder: Path,
    choices: Mapping[str, str],
    overrides: Sequence[str],
    command: str | None = None,
    config_dir: str | None = None,
    replaces: bool = False,
) -> dict[str, Any]:
    """Train one model and record it in `folder`; returns the content of `run.json`.

    `config` is plain and resolved; `choices` names the option of each group; `overrides` are the user's words and
    `command` what repeats the run, where that is not what this process was started by; `config_dir` is the folder
    of the user's own options and classes; `replaces`: the record in `folder` is to go. The same configuration gives
    the same bits on the same CPU. Raises `DfaError` for what the user can mend, after it is in the record.
    """
    config = settle(config)
    head = {
        "id": config["run_id"],
        "identity": identity(config),
        "choices": dict(choices),
        "overrides": list(overrides),
        "config": config,
        "data_fallback": config["data_fallback"],
        "provenance": {
            **provenance(),
            **({"command": command} if command else {}),
            **({"config_dir": config_dir} if config_dir else {}),
        },
    }
    let_import(config_dir)
    return _carry_out(Record(folder, head, replaces), config, choices, folder)


def resume(folder: Path) -> dict[str, Any]:
    """Go on with the run in `folder` from its checkpoint, in its own record; returns the content of `run.json`.

    On a CPU the metrics and the weights are bit for bit those of a run that was never ended. Raises `DfaError` when
    there is no checkpoint, or when it cannot be read back.
    """
    if not (folder / CHECKPOINT).is_file():
        raise DfaError(
            f"{folder} holds no checkpoint: the run was made without checkpoint_every=EPOCHS, or ended before."
        )
    record = Record.reopen(folder, provenance())
    before = record.content["provenance"]
    let_import(before.get("config_dir"))
    config = settle(record.content["config"])
    # the same number of threads gives the same order of additions
    config["threads"] = before.get("threads") or config["threads"]
    return _carry_out(record, config, record.content["choices"], folder, resumed=True)


def _carry_out(
    record: Record, config: Mapping[str, Any], choices: Mapping[str, str], folder: Path, resumed: bool = False
) -> dict[str, Any]:
    every = config["checkpoint_every"]
    keep_freed()
    with record, Progress(config, choices) as progress:
        with record.timed("data_seconds"):
            data = load_data(config)
        record.update(provenance=conditions(config, data))

        parts = assemble(config, data)
        start, best, seconds = 1, Best(), 0.0
        if resumed:
            start = 1 + load_checkpoint(folder, *parts.state)
            for row in rows_until(folder, start - 1):
                best = best.after(int(row["epoch"]), row["validation_accuracy"])
                seconds = row["seconds"]
            record.cut_back(start - 1, data.split, data.sizes)
        with record.timed("train_seconds", before=seconds):
            for epoch in parts.train(config["epochs"], config["patience"], start, best, seconds):
                record.epoch(
                    asdict(epoch) | parts.frames() | parts.alignment(epoch.epoch, config["alignment_every"]),
                    data.split,
                    data.sizes,
                )
                progress.epoch(epoch)
                if every is not None and epoch.epoch % every == 0:
                    record.sync()
                    with plainly(folder):
                        save_checkpoint(folder, epoch.epoch, *parts.state)
        if parts.projects:
            record.update(projection=asdict(parts.device.cost()))
        with plainly(folder):
            save_weights(
                folder / "weights.safetensors", parts.model, parts.device if parts.projects else None
            )
        record.complete(stopped_early=record.content["result"]["last_epoch"] < config["epochs"])
    (folder / CHECKPOINT).unlink(missing_ok=True)  # of no use to a run that is complete
    progress.summary(record.content, folder)
    return record.content


@functools.lru_cache(maxsize=4)
def _loaded(data: str, data_dir: str | None, mirrors: tuple[str, ...], compute: str) -> Data:
    source = Source.from_config(data_dir, mirrors, warn=note)
    return build(json.loads(data)).load(source).to(torch.device(compute))


def load_data(config: Mapping[str, Any]) -> Data:
    """The data set, read once in a process where jobs of a sweep name the same; nothing changes it after that."""
    mirrors = config["mirrors"]
    mirrors = (mirrors,) if isinstance(mirrors, str) else tuple(mirrors or ())
    return _loaded(json.dumps(config["data"], sort_keys=True), config["data_dir"], mirrors, config["compute"])


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


def build(node: Mapping[str, Any], *arguments: Any) -> Any:
    """The object that a group's `_target_` names. A `DfaError` raised in its constructor comes out as it is.

    Raises `DfaError` when there is no such class; what fails inside the module that holds it is a bug of its own.
    """
    from hydra.errors import InstantiationException

    try:
        return instantiate(without_facts(node), *arguments)
    except InstantiationException as error:
        if isinstance(error.__cause__, DfaError):
            raise error.__cause__ from None
        if isinstance(error.__cause__, TypeError):
            raise DfaError(misfit(node["_target_"], error.__cause__)) from error
        if (module := missing(error)) and f"{node['_target_']}.".startswith(f"{module}."):
            raise DfaError(not_found(node["_target_"], module)) from error
        raise


def misfit(target: str, error: TypeError) -> str:
    """What is wrong with the keys that a class is given, as Python says it."""
    return f"{target} does not take these keys ({error}); ~group.key takes a key away, +group.key=value adds one."


def threads_for(data: Data) -> int:
    """One thread for a small graph, whose products are too short to share; else as many as torch would take."""
    return 1 if data.edge_index is not None and data.edge_index.shape[1] < 200_000 else THREADS


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
