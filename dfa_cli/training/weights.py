"""Saves and loads weights without pickle."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from dfa_cli.devices.base import ProjectionDevice
from dfa_cli.machine.files import disk_errors_as_sentences, write_atomically
from dfa_cli.models.base import Model


def save_weights(path: Path, model: Model, device: ProjectionDevice | None) -> str:
    """Save the model's parameters under their own names and the device's state under `feedback.`, as safetensors.

    The time that the device has measured is left out, so that equal runs have equal files. Returns the SHA-256 of the
    file.
    """
    tensors = dict(model.state_dict())
    if device is not None:
        state = device.state_dict()
        tensors |= {f"feedback.{name}": value for name, value in state.items() if name != "seconds"}
    return save_tensors(path, tensors)


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> str:
    """Write the tensors to `path`, and return the SHA-256 of the file.

    When that fails, it raises `DfaError`, and an older file stays as it was.
    """
    # The tensors are cloned because safetensors refuses tensors that share memory, as the weights of two layers may.
    content = save({name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()})
    with disk_errors_as_sentences(path.parent):
        write_atomically(path, content)
    return hashlib.sha256(content).hexdigest()


def load_tensors(path: Path, where: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Load the tensors of a safetensors file. Nothing in the file is executed."""
    return load_file(path, device=str(where))
