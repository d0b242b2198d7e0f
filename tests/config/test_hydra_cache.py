"""Jobs whose configuration is made from a shared composition are those that Hydra composes one by one."""

from collections.abc import Iterator

import pytest
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from dfa_cli.config.hydra_cache import SharingLoader
from dfa_cli.config.paths import conf_dir

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
def loader() -> Iterator[ConfigLoaderImpl]:
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        found = GlobalHydra.instance().config_loader()
        assert isinstance(found, ConfigLoaderImpl)
        yield found


@pytest.fixture
def master(loader: ConfigLoaderImpl) -> DictConfig:
    return loader.load_configuration("config", ["hydra.job.name=dfa", "fail_fast=true"], RunMode.MULTIRUN)


def everything(config: DictConfig) -> dict:
    found = OmegaConf.to_container(config, resolve=False)
    assert isinstance(found, dict)
    return found


def test_they_are_equal_whatever_came_before(loader: ConfigLoaderImpl, master: DictConfig) -> None:
    sharing = SharingLoader(loader)
    for words in [*JOBS, *reversed(JOBS)]:
        expected = everything(loader.load_sweep_config(master, words))
        assert everything(sharing.load_sweep_config(master, words)) == expected, words


def test_a_job_does_not_change_the_next_one(loader: ConfigLoaderImpl, master: DictConfig) -> None:
    sharing = SharingLoader(loader)
    first = sharing.load_sweep_config(master, ["seed=1"])
    first.seed, first.hydra.job.num = 77, 5
    assert everything(sharing.load_sweep_config(master, ["seed=2"])) == everything(
        loader.load_sweep_config(master, ["seed=2"])
    )


@pytest.mark.parametrize("word", ["seeds=1", "model=gnc", "seed=[", "epochs.of=3"])
def test_what_hydra_refuses_is_refused(loader: ConfigLoaderImpl, master: DictConfig, word: str) -> None:
    with pytest.raises(HydraException) as expected:
        loader.load_sweep_config(master, [word])
    with pytest.raises(type(expected.value)) as found:
        SharingLoader(loader).load_sweep_config(master, [word])
    assert str(found.value) == str(expected.value)


def test_values_are_resolved_as_the_sweep_resolved_them(loader: ConfigLoaderImpl, master: DictConfig) -> None:
    """The folder of a sweep is named after the time, once."""
    folder = master.hydra.sweep.dir
    assert SharingLoader(loader).load_sweep_config(master, ["seed=1"]).hydra.sweep.dir == folder
