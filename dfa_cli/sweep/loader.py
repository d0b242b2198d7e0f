"""Hydra composes every job of a sweep from the files; here, jobs that differ in values share one composition."""

from __future__ import annotations

import copy

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from dfa_cli.hydra_app import only_values

Words = tuple[str, ...]
_composed: dict[tuple[Words, Words], DictConfig] = {}  # in this process, by the overrides that are no values


class SharingLoader(ConfigLoaderImpl):
    """Hydra's loader, whose `load_sweep_config` gives the same configurations in a tenth of the time.

    One of these goes to each worker with each job, so what is composed is kept by the process.
    """

    def __init__(self, loader: ConfigLoader):
        super().__init__(loader.get_search_path())

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        parsed = OverridesParser.create().parse_overrides(list(sweep_overrides))
        values = only_values(parsed, self)
        lines = {one.input_line for one in values}
        rest = tuple(word for word in sweep_overrides if word not in lines)
        key = tuple(master_config.hydra.overrides.hydra), rest
        if key not in _composed:
            _composed[key] = super().load_sweep_config(master_config, list(rest))
        config = copy.deepcopy(_composed[key])
        OmegaConf.copy_cache(from_config=master_config, to_config=config)
        self._apply_overrides_to_config(values, config)
        with open_dict(config.hydra):
            config.hydra.overrides.task = [one.input_line for one in parsed if not one.is_hydra_override()]
            about = config.hydra.job.config.override_dirname
            config.hydra.job.override_dirname = get_overrides_dirname(
                [one for one in parsed if not one.is_hydra_override()],
                kv_sep=about.kv_sep,
                item_sep=about.item_sep,
                exclude_keys=about.exclude_keys,
            )
        return config
