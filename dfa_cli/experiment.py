"""One run, from the configuration to the record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dfa_cli.config.auto import settle
from dfa_cli.config.identity import identity
from dfa_cli.config.plugins import let_import
from dfa_cli.data.base import Data
from dfa_cli.data.loading import load_data
from dfa_cli.errors import DfaError
from dfa_cli.machine.files import plainly
from dfa_cli.machine.memory import keep_freed
from dfa_cli.machine.provenance import code_state, provenance
from dfa_cli.records.curves import rows_until
from dfa_cli.records.record import Record
from dfa_cli.records.run import CHECKPOINT
from dfa_cli.seeding import stream_seed
from dfa_cli.training.checkpoint import load_checkpoint, save_checkpoint
from dfa_cli.training.loop import Best
from dfa_cli.training.progress import Progress
from dfa_cli.training.setup import assemble, threads_for
from dfa_cli.training.weights import save_weights

STREAMS = ("weights", "order", "dropout", "layers")
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
