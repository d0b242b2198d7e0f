"""Trains one run from its configuration to the record on disk.

The function `_train` shows all steps of a run, and is short enough to be read on one screen.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from dfa_cli.config.instantiate import files_named
from dfa_cli.config.own_code import import_exactly, late_modules
from dfa_cli.config.plugins import add_plugin_folder
from dfa_cli.config.spec import RunSpec
from dfa_cli.data.base import Data
from dfa_cli.data.loading import load_data
from dfa_cli.errors import DfaError
from dfa_cli.machine.files import disk_errors_as_sentences, write_atomically
from dfa_cli.machine.memory import keep_freed_memory, return_freed_memory, shortage_as_sentence
from dfa_cli.machine.provenance import packages, provenance
from dfa_cli.parallel.run import Together
from dfa_cli.records.locks import owned
from dfa_cli.records.log import LOG
from dfa_cli.records.record import Record
from dfa_cli.records.run import CHECKPOINT, PACKAGES, WEIGHTS
from dfa_cli.seeding import STREAMS, stream_seed
from dfa_cli.training.checkpoint import load_checkpoint, save_checkpoint
from dfa_cli.training.loop import History, LoopSettings, train
from dfa_cli.training.progress import Progress
from dfa_cli.training.setup import build_experiment
from dfa_cli.training.soundness import require_finite
from dfa_cli.training.trained import Trained
from dfa_cli.training.weights import save_tensors, weights_of
from dfa_cli.training.wrong_values import wrong_values_told

# The random streams whose seeds are recorded. dfa_cli/seeding.py explains what a stream is.
SEEDED = ("weights", "order", "dropout", "layers")
SMALLER_STEP = "Choose a smaller batch_size or model.hidden, or activations=recompute."


def run(spec: RunSpec, folder: Path, replaces: bool = False) -> dict[str, Any]:
    """Train one model and record it in `folder`. Returns the content of `run.json`.

    Every `auto` of `spec` must be resolved. `replaces`: the folder holds an earlier record of this run, which gives way
    when the data and the model are there. On the same CPU the
    same configuration gives the same bits. Raises `DfaError` for a mistake of the user, after recording it.
    """
    return _train(spec, Record(folder, _record_head(spec), replaces), folder)


def resume(spec: RunSpec, folder: Path) -> dict[str, Any]:
    """Continue the run in `folder` and add to its record. Returns the content of `run.json`.

    `spec` describes the run. On a CPU the metrics and the weights are bit for bit those of a run without a break.
    Raises `DfaError` when there is no checkpoint, or when it cannot be read.
    """
    if not (folder / CHECKPOINT).is_file():
        raise DfaError(
            f"{folder} holds no checkpoint: the run was made without checkpoint_every=EPOCHS, or ended early."
        )
    with owned(folder):  # from before its record is read
        return _train(
            spec, Record.reopen(folder, provenance(), spec.config["parallel"]), folder, resumed=True
        )


def _train(spec: RunSpec, record: Record, folder: Path, resumed: bool = False) -> dict[str, Any]:
    config = spec.config
    add_plugin_folder(spec.config_dir)
    spec.code.require_unchanged()
    import_exactly(spec.code)
    # The jobs of a sweep share a process, so a later one finds imported what the first one has imported.
    imported_before = modules_at_first() if spec.code.modules else set(sys.modules)
    choose_allocator(config)
    # When run.log cannot be written, the run says so in one sentence, so `logging` must not report it as well.
    logging.raiseExceptions = False
    with (
        record,
        Progress(config, spec.choices) as progress,
        Together(spec, folder, resumed) as processes,
        files_named(spec, folder / LOG),
    ):
        with record.timed("data_seconds"):
            data = load_data(config, spec.code.checksums)
        experiment = build_experiment(config, data, spec.choices)  # model, rule, device, optimizer, batches
        after = load_checkpoint(folder, experiment) if resumed else 0
        experiment = processes.divide(experiment)
        history = History.from_rows(
            record.begin(data.split, data.sizes, repeat_conditions(config, data), after)
        )
        if resumed:
            # The earlier process may have recorded epochs after the checkpoint, which are trained again.
            record.update(projection=experiment.projection(experiment.cost(), after))
        processes.tell(asdict(history))
        with disk_errors_as_sentences(folder):
            spec.code.keep(Path(config["outputs"]))
        with (
            record.timed("train_seconds", before=history.seconds),
            shortage_as_sentence("A training step", SMALLER_STEP),
            wrong_values_told(experiment),
        ):
            progress.begin_training(experiment.batches, history.epoch)
            epoch = None
            for epoch in train(experiment, LoopSettings.from_config(config), history):
                record.warn(epoch.cost.warnings if epoch.cost else ())
                record.add_epoch(epoch.row(), experiment.projection(epoch.cost, epoch.epoch))
                progress.show_epoch(epoch)
                if epoch.is_best and experiment.best is not None:
                    with experiment.gather_state():
                        experiment.best.keep(weights_of(experiment.model, experiment.device))
                if is_due(epoch.epoch, config["checkpoint_every"]):
                    # `resume` needs metrics.csv up to the epoch of the checkpoint, so metrics.csv comes first.
                    record.sync()
                    with experiment.gather_state():
                        require_finite(experiment, epoch)
                        save_checkpoint(folder, epoch.epoch, experiment)
        if report := experiment.report():
            record.update(parallel=report)
        record.update(provenance={"packages": save_packages(folder)})
        if late := late_modules(spec.code, imported_before):
            record.update(code={"late": late})
        record.sync()
        with experiment.gather_state():
            require_finite(experiment, epoch)
            kept = experiment.best.state_dict() if experiment.best is not None else None
            checksum = save_tensors(folder / WEIGHTS, kept or weights_of(experiment.model, experiment.device))
        record.update(files={WEIGHTS: checksum})
        record.complete(stopped_early=record.content["result"]["last_epoch"] < config["epochs"])
        with contextlib.suppress(OSError):
            (folder / CHECKPOINT).unlink()  # a completed run needs none
    progress.summary(record.content, folder)
    return record.content


def run_stage(spec: RunSpec, folder: Path, resumed: bool = False) -> None:
    """Compute the part of a run that falls to this process, beside the process that owns the record in `folder`.

    It goes through the same epochs as `_train`. Every `auto` of `spec` must be resolved.
    """
    config = spec.config
    add_plugin_folder(spec.config_dir)
    import_exactly(spec.code)
    choose_allocator(config)
    with Together(spec, folder) as processes, files_named(spec):
        experiment = build_experiment(config, load_data(config, spec.code.checksums), spec.choices)
        if resumed:
            load_checkpoint(folder, experiment)
        experiment = processes.divide(experiment)
        history = History(**processes.tell(None))
        for epoch in train(experiment, LoopSettings.from_config(config), history):
            if epoch.is_best and experiment.best is not None:
                with experiment.gather_state():
                    pass
            if is_due(epoch.epoch, config["checkpoint_every"]):
                with experiment.gather_state():
                    pass
        experiment.report()
        with experiment.gather_state():
            pass


def trained(spec: RunSpec, folder: Path) -> Trained:
    """Return the network of a run with the weights that the run has saved, and its data.

    Raises `DfaError` when the data cannot be had, or when the weights do not fit the model.
    """
    config = spec.config
    if config["compute"] == "cuda" and not torch.cuda.is_available():
        config = {**config, "compute": "cpu"}
    add_plugin_folder(spec.config_dir)
    import_exactly(spec.code)
    with files_named(spec):
        data = load_data(config, spec.code.checksums)
        return Trained.load(config, f"model={spec.choices['model']}", data, folder / WEIGHTS)


def choose_allocator(config: Mapping[str, Any]) -> None:
    """Choose whether this process keeps freed memory, for whichever part of a run it computes."""
    return_freed_memory() if config["activations"] == "recompute" else keep_freed_memory()


@functools.cache
def modules_at_first() -> frozenset[str]:
    """Return the names of the modules that were imported when this function was called first."""
    return frozenset(sys.modules)


def save_packages(folder: Path) -> str:
    """Write `packages.txt`, which lists all installed packages, and return its SHA-256."""
    content = packages().encode()
    with disk_errors_as_sentences(folder):
        write_atomically(folder / PACKAGES, content)
    return hashlib.sha256(content).hexdigest()


def is_due(epoch: int, every: int | None) -> bool:
    """Tell whether an action that happens every `every` epochs is due after `epoch`. `every=None` means never."""
    return every is not None and epoch % every == 0


def _record_head(spec: RunSpec) -> dict[str, Any]:
    """Return the part of the record that is known before the training starts."""
    code = {"files": spec.code.checksums, "repositories": spec.code.repositories()}
    origin = {"command": spec.command, "config_dir": spec.config_dir}
    return {
        "id": spec.config["run_id"],
        "identity": spec.identity,
        "choices": dict(spec.choices),
        "overrides": list(spec.overrides),
        "config": spec.config,
        "streams": STREAMS,
        "data_fallback": spec.config["data_fallback"],
        **({"code": code} if spec.code.modules else {}),
        "provenance": provenance() | {name: value for name, value in origin.items() if value},
    }


def repeat_conditions(config: Mapping[str, Any], data: Data) -> dict[str, Any]:
    """Return the conditions, besides the configuration, that a repetition needs for the same result."""
    seeds = {name: stream_seed(config["seed"], name) for name in SEEDED}
    for name in ("matrix_seed", "noise_seed"):
        if name in config["device"]:
            seeds[name] = config["device"][name]
    return {
        "threads": torch.get_num_threads(),  # as `build_experiment` has set it
        "compute": config["compute"],
        "seeds": seeds,
        "deterministic": config["compute"] == "cpu",
        "data_checksums": dict(data.checksums),
    }
