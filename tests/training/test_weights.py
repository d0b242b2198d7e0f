"""Saving and loading weights."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dfa_cli.devices import Digital
from dfa_cli.errors import DfaError
from dfa_cli.models import FullyConnected
from dfa_cli.models.base import ModelShape
from dfa_cli.seeding import generator
from dfa_cli.training.weights import load_tensors, save_tensors, weights_of


def model() -> FullyConnected:
    return FullyConnected(ModelShape(6, 3, generator(0, "weights")), [4], "tanh", 0.0, 0.0)


def device() -> Digital:
    made = Digital("cpu")
    made.prepare(3, 4, torch.device("cpu"))
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.safetensors"


def test_model_and_feedback_come_back_as_they_were(path: Path) -> None:
    saved, feedback = model(), device()
    save_tensors(path, weights_of(saved, feedback))
    found = load_tensors(path)
    expected = saved.state_dict() | {
        f"feedback.{name}": value for name, value in feedback.state_dict().items()
    }
    del expected["feedback.seconds"]  # equal runs have equal files
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert all(found[name].dtype == value.dtype for name, value in expected.items())
    other = model()
    with torch.no_grad():
        other.blocks[0].get_parameter("layer.weight").zero_()
    other.load_state_dict({name: value for name, value in found.items() if not name.startswith("feedback.")})
    assert torch.equal(
        other.blocks[0].get_parameter("layer.weight"), saved.blocks[0].get_parameter("layer.weight")
    )


def test_without_a_device_only_the_model_is_saved(path: Path) -> None:
    save_tensors(path, weights_of(model(), None))
    assert load_tensors(path).keys() == model().state_dict().keys()


def test_there_is_no_pickle_in_the_file(path: Path) -> None:
    """The file has only a length, a header in JSON, and numbers."""
    save_tensors(path, weights_of(model(), device()))
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert set(header) - {"__metadata__"} == set(load_tensors(path))
    assert len(content) == 8 + length + max(entry["data_offsets"][1] for entry in header.values())


def test_tensors_that_share_memory_or_have_strides_can_be_saved(path: Path) -> None:
    base = torch.arange(12.0).view(3, 4)
    tensors: dict[str, Tensor] = {"transposed": base.T, "slice": base[:, 1:3], "scalar": torch.tensor(7)}
    tensors["grad"] = torch.nn.Parameter(torch.ones(2))
    tensors["again"] = tensors["grad"]
    tensors["whole"] = base
    save_tensors(path, tensors)
    found = load_tensors(path)
    assert all(torch.equal(found[name], value) for name, value in tensors.items())


def test_a_failed_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_tensors(path, {"a": torch.ones(2)})
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("write_bytes", "replace"):
        monkeypatch.setattr(Path, name, full)
    monkeypatch.setattr("os.replace", full)
    with pytest.raises(DfaError, match="No space is left"):
        save_tensors(path, {"a": torch.zeros(2)})
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name], "half a file is left behind"
