"""Checkpoints: the state of a run between two epochs, saved without pickle.

One safetensors file holds the whole state, so that it is replaced completely or not at all. The measurements so far
are not in it. They stand in the lines of `metrics.csv` up to the epoch of the checkpoint, and the best epoch and the
patience follow from them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dfa_cli.errors import DfaError
from dfa_cli.machine.files import disk_errors_as_sentences, open_atomically
from dfa_cli.records.checkpoint import FORMAT
from dfa_cli.records.checksums import ZEROS, change_of_checkpoint, with_checksum_in_metadata
from dfa_cli.records.run import CHECKPOINT
from dfa_cli.rules.base import Stateful

if TYPE_CHECKING:
    from dfa_cli.training.setup import Experiment


def save_checkpoint(folder: Path, epoch: int, experiment: Experiment) -> None:
    """Save the state after `epoch`. When this returns, the file is on the disk, not only in the system's cache.

    Saved are the model, the optimizer, the projection device, the generators by name, and torch's global generators,
    since layers of other libraries draw from those. The state of a rule is saved when the rule has a
    `state_dict` of tensors. Raises `DfaError` when the folder cannot be written.
    """
    parts = _stateful_parts(experiment)
    tensors = {
        f"{prefix}.{name}": value
        for prefix, part in parts.items()
        for name, value in part.state_dict().items()
    }
    tensors |= {
        f"generator.{name}": generator.get_state() for name, generator in experiment.generators.items()
    }
    tensors["global.cpu"] = torch.get_rng_state()
    if torch.cuda.is_initialized():
        tensors["global.cuda"] = torch.cuda.get_rng_state()
    not_tensors: dict[str, Any] = {}
    for index, slots in experiment.optimizer.state_dict()["state"].items():
        for name, value in slots.items():
            key = f"optimizer.{index}.{name}"
            if isinstance(value, Tensor):
                tensors[key] = value
            else:  # a step count, or the None that SGD stores when it has no momentum
                not_tensors[key] = value
    metadata = {
        "format": str(FORMAT),
        "epoch": str(epoch),
        "optimizer": json.dumps(not_tensors),
        "sum": ZEROS,
    }
    # The tensors are cloned because safetensors refuses tensors that share memory.
    content = save(
        {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}, metadata
    )
    with disk_errors_as_sentences(folder), open_atomically(folder / CHECKPOINT) as file:
        file.writelines(with_checksum_in_metadata(content))


def load_checkpoint(folder: Path, experiment: Experiment) -> int:
    """Load the checkpoint into a newly built experiment and return the epoch after which it was saved.

    Raises `DfaError` when the file is damaged, or when its tensors do not fit the experiment.
    """
    path = folder / CHECKPOINT
    try:
        if change := change_of_checkpoint(path):
            raise ValueError(change)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata.get("format") != str(FORMAT):
            raise DfaError(
                f"{path} has format {metadata.get('format')}, and this version of dfa reads {FORMAT}: it draws dropout "
                "and optical noise from other random streams. `dfa resume RUN --from-start` trains from epoch 1 again."
            )
        for prefix, part in _stateful_parts(experiment).items():
            part.load_state_dict(_entries_of(tensors, f"{prefix}."))
        for name, generator in experiment.generators.items():
            generator.set_state(tensors[f"generator.{name}"])
        not_tensors = json.loads(metadata["optimizer"])
        slots = {**_entries_of(tensors, "optimizer."), **_entries_of(not_tensors, "optimizer.")}
        _load_optimizer(experiment.optimizer, slots)
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise DfaError(
            f"{path} cannot be read back ({reason}). `dfa resume RUN --from-start` trains from epoch 1 again."
        ) from error
    # The global generators come last, because building the experiment has drawn from them.
    torch.set_rng_state(tensors["global.cpu"])
    if "global.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["global.cuda"])
    return int(metadata["epoch"])


def _stateful_parts(experiment: Experiment) -> dict[str, Stateful]:
    """Return the parts of a run that have a `state_dict` of tensors, by the prefix of their tensors in the file."""
    parts = {
        "model": experiment.model,
        "device": experiment.device,
        "rule": experiment.rule,
        "best": experiment.best,
    }
    return {name: part for name, part in parts.items() if isinstance(part, Stateful)}


def _entries_of(entries: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the entries whose names begin with `prefix`, and remove the prefix from the names."""
    return {name.removeprefix(prefix): value for name, value in entries.items() if name.startswith(prefix)}


def _load_optimizer(optimizer: torch.optim.Optimizer, slots: Mapping[str, Any]) -> None:
    """Restore the optimizer's state from `slots`, which maps `"{index}.{name}"` to a value.

    The parameter groups, and with them the learning rate, stay those of the configuration.
    """
    state: dict[int, dict[str, Any]] = {}
    for key, value in slots.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
