"""The state of a run between two epochs, on disk, without pickle.

One safetensors file holds all of it, so that it is replaced as a whole or not at all. What was measured so far is
not in it: the lines of `metrics.csv` up to its epoch say that, and the best epoch and the patience follow from them.
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
from dfa_cli.machine.files import disk_errors_as_sentences, write_atomically
from dfa_cli.records.run import CHECKPOINT
from dfa_cli.rules.base import Stateful

if TYPE_CHECKING:
    from dfa_cli.training.setup import Experiment

FORMAT = 1


def save_checkpoint(folder: Path, epoch: int, experiment: Experiment) -> None:
    """Write the state after `epoch`; the file is on disk, not only in the system's cache, when this returns.

    It holds the model, the optimizer, the projection device, the generators by the names of their streams, and torch's
    own global generators, since layers of other libraries draw from those. A rule's own state is kept where it has a
    `state_dict` of tensors, as a rule from outside may. Raises `DfaError` when the folder cannot be written.
    """
    parts = _stateful_parts(experiment)
    tensors = {
        f"{part}.{name}": value for part, one in parts.items() for name, value in one.state_dict().items()
    }
    tensors |= {f"generator.{name}": one.get_state() for name, one in experiment.generators.items()}
    tensors["global.cpu"] = torch.get_rng_state()
    if torch.cuda.is_initialized():
        tensors["global.cuda"] = torch.cuda.get_rng_state()
    plain: dict[str, Any] = {}
    for index, slots in experiment.optimizer.state_dict()["state"].items():
        for name, value in slots.items():
            key = f"optimizer.{index}.{name}"
            if isinstance(value, Tensor):
                tensors[key] = value
            else:  # a count, or the None of an SGD that has no momentum
                plain[key] = value
    about = {"format": str(FORMAT), "epoch": str(epoch), "optimizer": json.dumps(plain)}
    # cloned: safetensors refuses tensors that share memory
    content = save(
        {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}, about
    )
    with disk_errors_as_sentences(folder):
        write_atomically(folder / CHECKPOINT, content)


def can_be_read(folder: Path) -> bool:
    """Whether there is a checkpoint, whole and of a format that this version reads."""
    try:
        with safe_open(folder / CHECKPOINT, framework="pt") as file:
            return (file.metadata() or {}).get("format") == str(FORMAT)
    except (SafetensorError, OSError):
        return False


def load_checkpoint(folder: Path, experiment: Experiment) -> int:
    """Put the saved state into freshly built parts and return the epoch after which it was saved.

    Raises `DfaError` when the file is damaged or belongs to parts of another kind.
    """
    path = folder / CHECKPOINT
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if about.get("format") != str(FORMAT):
            raise DfaError(
                f"{path} has format {about.get('format')}, and this version of dfa reads {FORMAT}."
            )
        for part, one in _stateful_parts(experiment).items():
            one.load_state_dict(_part(tensors, f"{part}."))
        for name, one in experiment.generators.items():
            one.set_state(tensors[f"generator.{name}"])
        slots = {**_part(tensors, "optimizer."), **_part(json.loads(about["optimizer"]), "optimizer.")}
        _load_optimizer(experiment.optimizer, slots)
    except (SafetensorError, OSError, ValueError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise DfaError(f"{path} cannot be read back ({reason}); start again with --from-start.") from error
    # last: building the parts has drawn from them
    torch.set_rng_state(tensors["global.cpu"])
    if "global.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["global.cuda"])
    return int(about["epoch"])


def _stateful_parts(experiment: Experiment) -> dict[str, Stateful]:
    """The parts of a run that have a `state_dict` of tensors, by the prefix of their tensors in the file."""
    parts = {"model": experiment.model, "device": experiment.device, "rule": experiment.rule}
    return {name: part for name, part in parts.items() if isinstance(part, Stateful)}


def _part(entries: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in entries.items() if name.startswith(prefix)}


def _load_optimizer(optimizer: torch.optim.Optimizer, slots: Mapping[str, Any]) -> None:
    """`slots`: `"{index}.{name}"` -> value. The parameter groups are those that the configuration gives."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in slots.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
