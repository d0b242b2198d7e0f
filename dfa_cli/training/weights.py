"""Saves and loads weights without pickle."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from dfa_cli.devices.base import ProjectionDevice
from dfa_cli.errors import DfaError
from dfa_cli.machine.files import disk_errors_as_sentences, write_atomically
from dfa_cli.models.base import Model

FEEDBACK = "feedback."  # begins the names of the device's tensors


class BestWeights:
    """The weights after the best validation epoch so far. A checkpoint takes them with it."""

    def __init__(self) -> None:
        self._tensors: dict[str, Tensor] = {}

    def keep(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy the tensors into the memory of the CPU, in place of those of an earlier epoch."""
        self._tensors = {name: value.detach().to("cpu", copy=True) for name, value in tensors.items()}

    def state_dict(self) -> dict[str, Tensor]:
        return dict(self._tensors)

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = dict(tensors)


def weights_of(model: Model, device: ProjectionDevice | None) -> dict[str, Tensor]:
    """Return the model's parameters under their own names and the device's state under `feedback.`.

    The time that the device has measured is left out, so that equal runs have equal files.
    """
    tensors = dict(model.state_dict())
    if device is not None:
        state = device.state_dict()
        tensors |= {f"{FEEDBACK}{name}": value for name, value in state.items() if name != "seconds"}
    return tensors


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write the tensors to `path`, and return the SHA-256 of the file.

    When that fails, it raises `DfaError`, and an older file stays as it was.
    """
    # The tensors are cloned because safetensors refuses tensors that share memory, as the weights of two layers may.
    content = save({name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()})
    with disk_errors_as_sentences(path.parent):
        write_atomically(path, content)
    return hashlib.sha256(content).hexdigest()


def load_weights(model: Model, path: Path) -> None:
    """Give the model the weights of a run. Raises `DfaError` when the file cannot be read, or has other tensors."""
    try:
        tensors = load_tensors(path)
        model.load_state_dict(
            {name: value for name, value in tensors.items() if not name.startswith(FEEDBACK)}
        )
    except (SafetensorError, OSError, RuntimeError) as error:
        raise DfaError(f"{path} does not fit the model: {' '.join(str(error).split())}") from error


def load_tensors(path: Path, where: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Load the tensors of a safetensors file. Nothing in the file is executed."""
    return load_file(path, device=str(where))
