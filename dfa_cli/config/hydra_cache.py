"""Hydra composes every job of a sweep from the files; here, jobs that differ in values share one composition."""

from __future__ import annotations

import copy

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf, open_dict

import dfa_cli.config.compose  # noqa: F401  (makes schema and resolvers known, in a worker that begins with this)
from dfa_cli.config.overrides import told_apart

Words = tuple[str, ...]
_composed: dict[tuple[Words, Words], DictConfig] = {}  # in this process, by the overrides that are no values


class SharingLoader(ConfigLoaderImpl):
    """Hydra's loader, whose `load_sweep_config` gives the same configurations in a tenth of the time.

    One of these goes to each worker with each job, so what is composed is kept by the process.
    """

    def __init__(self, loader: ConfigLoader):
        super().__init__(loader.get_search_path())

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        words = told_apart(sweep_overrides, self)
        key = tuple(master_config.hydra.overrides.hydra), words.rest
        if key not in _composed:
            _composed[key] = super().load_sweep_config(master_config, list(words.rest))
        config = copy.deepcopy(_composed[key])
        OmegaConf.copy_cache(from_config=master_config, to_config=config)
        self._apply_overrides_to_config(words.values, config)
        own = [one for one in words.every if not one.is_hydra_override()]
        with open_dict(config.hydra):
            config.hydra.overrides.task = [one.input_line for one in own]
            about = config.hydra.job.config.override_dirname
            config.hydra.job.override_dirname = get_overrides_dirname(
                own,
                kv_sep=about.kv_sep,
                item_sep=about.item_sep,
                exclude_keys=about.exclude_keys,
            )
        return config
