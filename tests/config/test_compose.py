"""The composed configurations are those that Hydra would compose, one job after the other."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from dfa_cli.config.command import parse_command
from dfa_cli.config.compose import Composer, compose_run, compose_sweep
from dfa_cli.config.paths import conf_dir
from dfa_cli.config.registration import register_with_hydra
from dfa_cli.config.spec import RunSpec
from dfa_cli.errors import DfaError

JOBS = [
    ["model=gcn", "data=cora", "seed=1"],
    ["model=gcn", "data=cora", "seed=2", "optimizer.lr=0.5"],
    ["model=gcn", "data=cora", "rule=shallow", "seed=2"],
    ["model=fc", "data=mnist", "model.hidden=[64,64]", "device=opu_sim", "device/readout=off_axis"],
    ["model=fc", "data=mnist", "+optimizer.betas=[0.8,0.9]", "seed=3"],
    ["model=fc", "data=mnist", "~optimizer.weight_decay", "outputs='a folder, with a comma'"],
    ["experiment=quickstart", "seed=7", "launcher=joblib", "hydra.verbose=true"],
    ["experiment=quickstart", "seed=8"],
    ["data_dir=null", "epochs=3"],
]


@pytest.fixture
def composer() -> Iterator[Composer]:
    with Composer(parse_command([], "dfa sweep")) as made:
        yield made


def compose_with_hydra(words: list[str]) -> dict[str, Any]:
    register_with_hydra()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        content = OmegaConf.to_container(compose("config", words), resolve=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items() if key not in ("grids", "run_id")}


def test_a_job_has_no_choices_of_the_jobs_before_it() -> None:
    simulated, digital = compose_sweep(["data=digits", "rule=dfa", "device=opu_sim,cpu"])
    assert not [name for name in digital.choices if name.startswith("device/")]
    assert simulated.choices["device/camera"] == "cmos"


def test_jobs_that_share_a_composition_equal_those_of_hydra() -> None:
    expected = [compose_with_hydra(words) for words in JOBS]
    with Composer(parse_command([], "dfa sweep")) as composer:
        for words, config in [
            *zip(JOBS, expected, strict=True),
            *zip(reversed(JOBS), reversed(expected), strict=True),
        ]:
            spec = composer.job(words).spec
            assert {key: value for key, value in spec.config.items() if key != "run_id"} == config, words


def test_a_job_does_not_change_the_next_one(composer: Composer) -> None:
    first = composer.job(["seed=1"])
    first.config.seed = 77
    first.job_folder(5)
    second = composer.job(["seed=2"])
    assert second.spec.config["seed"] == 2
    assert second.job_folder(0) == f"0_{second.spec.config['run_id']}"


def test_each_run_has_its_own_id_which_its_folder_carries(composer: Composer) -> None:
    one, other = composer.run(["data=digits"]), composer.run(["data=digits"])
    assert one.spec.config["run_id"] != other.spec.config["run_id"]
    assert one.run_folder().name.endswith(f"_fc-digits-dfa_{one.spec.config['run_id']}")
    assert one.spec.identity == other.spec.identity


def test_interpolations_can_read_hydras_own_values() -> None:
    spec = compose_run(["data=digits", "outputs=${hydra:runtime.cwd}/there", "+zzz=${hydra:job.name}"])
    assert spec.config["outputs"].endswith("/there")
    assert spec.config["zzz"] == "dfa"
    assert not HydraConfig.initialized()


def test_a_sweep_is_all_combinations_in_hydras_order() -> None:
    specs = compose_sweep(["data=digits", "rule=bp,dfa", "seed=range(2)"])
    assert [spec.overrides[1:] for spec in specs] == [
        ["rule=bp", "seed=0"],
        ["rule=bp", "seed=1"],
        ["rule=dfa", "seed=0"],
        ["rule=dfa", "seed=1"],
    ]


@pytest.mark.parametrize("word", ["seeds=1", "model=gnc", "seed=[", "epochs.of=3"])
def test_an_override_that_hydra_refuses_is_a_sentence(word: str) -> None:
    with pytest.raises(DfaError):
        compose_run(["data=digits", word])


def test_nothing_is_registered_with_hydra_before_a_composition() -> None:
    """A program that uses Hydra itself, with a configuration called `schema`, may import this package."""
    code = (
        "import dfa_cli.sweeps.sweep, dfa_cli.launch.train, dfa_cli.sweeps.task\n"
        "from hydra.core.config_store import ConfigStore\n"
        "from omegaconf import OmegaConf\n"
        "print(ConfigStore.instance().repo, OmegaConf.has_resolver('dfa_id'))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "schema" not in said
    assert said.split()[-1] == "False"


def test_flags_are_separated_from_overrides() -> None:
    command = parse_command(["rule=bp", "-m", "launcher=joblib", "launcher.n_jobs=2"], "dfa train")
    assert command.multirun
    assert command.overrides == ["rule=bp", "launcher=joblib", "hydra.launcher.n_jobs=2"]
    for word in ("hydra.mode=MULTIRUN", "++hydra.mode=MULTIRUN", "hydra.mode='MULTIRUN'", "hydra.mode=2"):
        assert parse_command([word], "dfa train").multirun, word
    assert not parse_command(["rule=bp"], "dfa train").multirun


def test_a_folder_of_ones_own_is_known_by_its_full_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a run can be repeated from any folder."""
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    spec = compose_run(["--config-dir", "mine", "data=digits"])
    assert spec.config_dir == str(tmp_path / "mine")
    assert spec.repeated_by_train().command == f"dfa train --config-dir {tmp_path}/mine data=digits"


def test_an_experiment_that_asks_for_a_sweep_is_no_single_run(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "many.yaml").write_text("# @package _global_\nhydra: {mode: MULTIRUN}\n")
    with pytest.raises(DfaError, match="use dfa sweep"):
        compose_run(["--config-dir", str(tmp_path), "data=digits", "experiment=many"])


def test_what_hydra_knows_only_when_a_job_runs_is_refused_in_a_sweep() -> None:
    with pytest.raises(DfaError, match="HydraConfig was not set"):
        compose_sweep(["data=digits", "seed=0,1", "+zzz=${hydra:job.num}"])


@pytest.mark.parametrize(
    ("words", "part", "like"),
    [
        (["device/drift=none"], "drift", ["device/drift=none"]),
        (["device/drift=reference"], "drift", ["device/drift=reference"]),
        (
            ["device/drift=reference", "device.drift.walk=2"],
            "drift",
            ["device/drift=reference", "device.drift.walk=2"],
        ),
        (["device/camera=ideal"], "camera", ["device/camera=ideal"]),
        (["device/drift=medium"], "drift", ["device/drift=medium", "device.drift.tau=7"]),
        (["device/drift=none"], "camera", ["device.camera.bits=12"]),
        (
            ["device/readout=statistical"],
            "readout",
            [
                "device/readout=statistical",
                "device.readout.wrapped.headroom=4",
                "device.readout.wrapped.steps=7",
            ],
        ),
        (["device/readout=off_axis"], "readout", ["device/readout=off_axis", "device.readout.headroom=4"]),
        (
            ["device/readout=off_axis", "device.readout.headroom=2"],
            "readout",
            ["device/readout=off_axis", "device.readout.headroom=2"],
        ),
        (["device/readout=intensity"], "readout", ["device/readout=intensity", "device.readout.headroom=4"]),
        (["device/readout=ideal"], "readout", ["device/readout=ideal"]),
        (
            ["device/readout=phase_shifting_5"],
            "readout",
            ["device/readout=phase_shifting_5", "device.readout.headroom=4"],
        ),
        (
            ["device/readout=statistical_phase_shifting_5"],
            "readout",
            ["device/readout=statistical_phase_shifting_5", "device.readout.wrapped.headroom=4"],
        ),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, list) else words,
)
def test_the_keys_of_a_device_of_ones_own_belong_to_the_parts_that_it_has(
    words: list[str], part: str, like: list[str], tmp_path: Path
) -> None:
    (tmp_path / "device").mkdir()
    (tmp_path / "device" / "mylab.yaml").write_text(
        "defaults:\n  - opu_phase_shifting\n  - override drift: medium\n  - _self_\n"
        "drift:\n  tau: 7\ncamera:\n  bits: 12\nreadout:\n  steps: 7\n  headroom: 4\n"
    )
    own = compose_run(["--config-dir", str(tmp_path), "data=digits", "device=mylab", *words])
    other = compose_run(["data=digits", "device=opu_phase_shifting", *like])
    assert own.config["device"][part] == other.config["device"][part]


OWN_OPTION = "  - override readout: measured\n"
OWN_CLASS = (
    "  - override readout: off_axis\n  - _self_\nreadout:\n  _target_: torch.nn.Identity\n  snr_db: 7\n"
)


def _with_own_readout(folder: Path, readout: str, *words: str) -> RunSpec:
    """Composes a run on a device whose file chooses a read-out that is not of this package."""
    (folder / "device" / "readout").mkdir(parents=True, exist_ok=True)
    (folder / "device" / "readout" / "measured.yaml").write_text("_target_: torch.nn.Identity\n")
    (folder / "device" / "mylab.yaml").write_text(f"defaults:\n  - opu_sim\n{readout}")
    return compose_run(["--config-dir", str(folder), "data=digits", "device=mylab", *words])


@pytest.mark.parametrize(
    ("readout", "name"),
    [
        (OWN_OPTION, "device/readout=measured"),
        (OWN_CLASS, "the class torch.nn.Identity"),
        ("  - override readout: ideal\n", "device/readout=ideal"),
    ],
)
def test_the_noise_of_a_read_out_without_a_model_is_not_that_of_another(
    readout: str, name: str, tmp_path: Path
) -> None:
    with pytest.raises(
        DfaError, match=f"nothing models that of {name}. Leave device/readout=statistical out"
    ):
        _with_own_readout(tmp_path, readout, "device/readout=statistical")


def test_the_noise_of_a_model_is_that_of_the_model(tmp_path: Path) -> None:
    words = ("  - override readout: statistical_phase_shifting\n", "device/readout=statistical")
    assert _with_own_readout(tmp_path, *words).choices["device/readout"] == "statistical_phase_shifting"


@pytest.mark.parametrize("readout", [OWN_OPTION, OWN_CLASS])
def test_a_named_read_out_has_its_own_class_and_keys(readout: str, tmp_path: Path) -> None:
    found = _with_own_readout(tmp_path, readout, "device/readout=off_axis").config["device"]["readout"]
    plain = compose_run(["data=digits", "device=opu_sim", "device/readout=off_axis"])
    assert found == plain.config["device"]["readout"]
    unnamed = _with_own_readout(tmp_path, readout).config["device"]["readout"]
    assert unnamed["_target_"] == "torch.nn.Identity"


@pytest.mark.parametrize("readout", ["off_axis", "phase_shifting"])
def test_the_pixels_of_a_modelled_read_out_have_the_keys_of_the_model(readout: str, tmp_path: Path) -> None:
    (tmp_path / "device").mkdir()
    (tmp_path / "device" / "mylab.yaml").write_text(
        "defaults:\n  - opu_sim\n  - _self_\n"
        "readout:\n  wrapped:\n    grain: 6\n    headroom: 4\n    reference: ${device.calibration}\n"
    )
    words = [f"device/readout={readout}"]
    own = compose_run(["--config-dir", str(tmp_path), "data=digits", "device=mylab", *words])
    keys = ["device.readout.headroom=4", "device.readout.reference=0.5"]
    keys += ["device.readout.grain=6"] if readout == "off_axis" else []
    other = compose_run(["data=digits", "device=opu_sim", *words, *keys])
    assert own.config["device"]["readout"] == other.config["device"]["readout"]
