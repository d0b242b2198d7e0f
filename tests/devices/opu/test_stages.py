"""Every file of the OPU's stages composes, can be built and run, and states the defaults of its class."""

import inspect
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import get_class, instantiate

from dfa_cli.devices.opu import OPU

CONF = Path(__file__).parents[3] / "conf"
STAGES = [
    (stage, file.stem)
    for stage in ("encoding", "medium", "readout", "camera")
    for file in sorted((CONF / "device" / stage).glob("*.yaml"))
]


def device(*overrides: str):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("device/opu_sim", overrides=["+seed=3", *overrides]).device


@pytest.mark.parametrize(("stage", "name"), STAGES)
def test_every_stage_projects(stage: str, name: str) -> None:
    built = instantiate(device(f"device/{stage}={name}"))
    built.prepare(7, 64, torch.device("cpu"))
    error = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    assert torch.isfinite(built.project(error)).all()
    assert (built.matrix_seed, built.noise_seed) == (3, 3)


@pytest.mark.parametrize(("stage", "name"), [*STAGES, ("", "opu_sim")])
def test_a_file_states_every_argument_with_its_default(stage: str, name: str) -> None:
    node = device(f"device/{stage}={name}")[stage] if stage else device()
    parameters = inspect.signature(get_class(node._target_)).parameters
    assert set(parameters) == {str(key) for key in node} - {"_target_"}
    if name not in ("ideal", "phase_shifting_5"):  # these differ from the default on purpose
        for key, parameter in parameters.items():
            if isinstance(parameter.default, (bool, int, float, str)) and not key.endswith("seed"):
                assert node[key] == parameter.default, key


def test_opu_sim_uses_the_default_stages() -> None:
    built, plain = instantiate(device()), OPU()
    for stage in ("encoding", "medium", "readout", "camera"):
        assert type(getattr(built, stage)) is type(getattr(plain, stage))
