"""One run on one screen: from what was asked for to the record on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dfa_cli.config.plugins import add_plugin_folder
from dfa_cli.config.spec import RunSpec
from dfa_cli.data.base import Data
from dfa_cli.data.loading import load_data
from dfa_cli.errors import DfaError
from dfa_cli.machine.memory import keep_freed_memory
from dfa_cli.machine.provenance import provenance
from dfa_cli.records.record import Record
from dfa_cli.records.run import CHECKPOINT
from dfa_cli.seeding import stream_seed
from dfa_cli.training.checkpoint import load_checkpoint, save_checkpoint
from dfa_cli.training.loop import Course, History, train
from dfa_cli.training.progress import Progress
from dfa_cli.training.setup import build_experiment, threads_for
from dfa_cli.training.weights import WEIGHTS, save_weights

STREAMS = ("weights", "order", "dropout", "layers")


def run(spec: RunSpec, folder: Path, replaces: bool = False) -> dict[str, Any]:
    """Train one model and record it in `folder`. Returns the content of `run.json`.

    `spec` has no `auto` left; `replaces`: the record that is in `folder` goes. The same configuration gives the same
    bits on the same CPU. Raises `DfaError` for what the user can mend, after it is in the record.
    """
    return _train(spec, Record(folder, _head(spec), replaces), folder)


def resume(spec: RunSpec, folder: Path) -> dict[str, Any]:
    """Go on with the run in `folder`, which `spec` describes, in its own record. Returns the content of `run.json`.

    On a CPU the metrics and the weights are bit for bit those of a run that was never ended. Raises `DfaError` when
    there is no checkpoint, or when it cannot be read back.
    """
    if not (folder / CHECKPOINT).is_file():
        raise DfaError(
            f"{folder} holds no checkpoint: the run was made without checkpoint_every=EPOCHS, or ended before."
        )
    return _train(spec, Record.reopen(folder, provenance()), folder, resumed=True)


def _train(spec: RunSpec, record: Record, folder: Path, resumed: bool = False) -> dict[str, Any]:
    config, history = spec.config, History()
    add_plugin_folder(spec.config_dir)
    keep_freed_memory()
    with record, Progress(config, spec.choices) as progress:
        with record.timed("data_seconds"):
            data = load_data(config)
        record.begin(data.split, data.sizes, repeat_conditions(config, data))
        experiment = build_experiment(config, data)  # model, rule, device, optimizer, batches
        if resumed:
            history = History.of(record.truncate_after(load_checkpoint(folder, experiment)))
        with record.timed("train_seconds", before=history.seconds):
            for epoch in train(experiment, Course.of(config), history):
                record.epoch(epoch.row())
                progress.epoch(epoch)
                if is_due(epoch.epoch, config["checkpoint_every"]):
                    record.sync()  # first: resume trusts metrics.csv up to the checkpoint
                    save_checkpoint(folder, epoch.epoch, experiment)
        if experiment.device is not None:
            record.update(projection=asdict(experiment.device.cost()))
        save_weights(folder / WEIGHTS, experiment.model, experiment.device)
        record.complete(stopped_early=record.content["result"]["last_epoch"] < config["epochs"])
    (folder / CHECKPOINT).unlink(missing_ok=True)  # of no use to a run that is complete
    progress.summary(record.content, folder)
    return record.content


def is_due(epoch: int, every: int | None) -> bool:
    """Whether something is to happen after this epoch that happens after every `every`-th; `None`: never."""
    return every is not None and epoch % every == 0


def _head(spec: RunSpec) -> dict[str, Any]:
    """What a record says before anything has been measured."""
    asked = {"command": spec.command, "config_dir": spec.config_dir}
    return {
        "id": spec.config["run_id"],
        "identity": spec.identity,
        "choices": dict(spec.choices),
        "overrides": list(spec.overrides),
        "config": spec.config,
        "data_fallback": spec.config["data_fallback"],
        "provenance": provenance() | {name: value for name, value in asked.items() if value},
    }


def repeat_conditions(config: Mapping[str, Any], data: Data) -> dict[str, Any]:
    """What a repetition has to have the same, besides the configuration."""
    seeds = {name: stream_seed(config["seed"], name) for name in STREAMS}
    for name in ("matrix_seed", "noise_seed"):
        if name in config["device"]:
            seeds[name] = config["device"][name]
    return {
        "threads": threads_for(config, data),
        "compute": config["compute"],
        "seeds": seeds,
        "deterministic": config["compute"] == "cpu",
        "data_checksums": dict(data.checksums),
    }
