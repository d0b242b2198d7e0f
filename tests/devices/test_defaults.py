"""The values in the files of conf/device equal the defaults of their classes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import get_class
from omegaconf import OmegaConf

from dfa_cli.config.paths import conf_dir

DEVICE = conf_dir() / "device"
# These options exist to set other values.
OTHER_VALUES = (
    *("cpu", "gpu", "camera/ideal", "opu_holographic", "opu_lighton", "opu_phase_shifting"),
    *("drift/none", "drift/medium", "drift/reference", "readout/phase_shifting_5"),
    "readout/statistical_phase_shifting_5",
)
FILES = [
    path for path in sorted(DEVICE.rglob("*.yaml")) if str(path.relative_to(DEVICE))[:-5] not in OTHER_VALUES
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_values_of_a_file_are_the_defaults_of_its_class(path: Path) -> None:
    content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    assert isinstance(content, dict)
    require_defaults({str(key): value for key, value in content.items()})


def require_defaults(node: Mapping[str, Any]) -> None:
    parameters = inspect.signature(get_class(node["_target_"])).parameters
    for key, value in node.items():
        if isinstance(value, Mapping):
            require_defaults(value)
        elif key not in ("_target_", "defaults") and not str(value).startswith("${"):
            assert value == parameters[key].default, key
