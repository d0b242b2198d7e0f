"""Wraps what Hydra does not offer under a public name. Only this file imports `hydra._internal`.

pyproject.toml pins Hydra below 1.4, so these names cannot change without a deliberate upgrade.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import os
import pickle
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import hydra._internal.hydra as hydra_module
from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.config_repository import ConfigRepository, IConfigRepository
from hydra._internal.defaults_list import DefaultsList
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core import utils
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.default_element import ResultDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, RunMode, TaskFunction
from hydra.version import setbase
from omegaconf import DictConfig, OmegaConf, open_dict

from dfa_cli.errors import DfaError

VERSION_BASE = "1.3"
JOB_NAME = "dfa"  # hydra.job.name
STATISTICAL = "device/readout=statistical"
# Keys of a read-out that mean the same for every other: of the reference beam, and of the exposure.
SHARED = ("reference", "visibility", "headroom")


def hydra_argument_parser(prog: str) -> argparse.ArgumentParser:
    """Return Hydra's own parser of a command line. It reads Hydra's flags and the overrides between them."""
    parser = get_args_parser()
    parser.prog = prog
    return parser


class SeparateChoices(ConfigLoaderImpl):
    """Hydra's own loader, with the choices of each composition apart from those of the compositions before.

    Hydra adds all choices of a process to one node. After `device=opu_sim`, a run with `device=cpu` would have a camera
    among its choices.

    `device/readout=statistical` means the noise of the read-out that the chosen device has by itself. The device
    `opu_phase_shifting` reads by `phase_shifting`, whose noise is that of `statistical_phase_shifting`. It raises
    `DfaError` for a device whose read-out has no such model.

    The keys that the file of a device sets for a part, such as `tau` below `drift`, belong to the option that this
    device has by itself. With another option, as by `device/drift=reference`, they are left out. A read-out keeps the
    keys that mean the same for it: all of them where one option models the noise of the other, else those of `SHARED`
    that it has. Where the file sets the class of a part, by `_target_`, no option is that of the device: each option
    that the command line names has its own values.
    """

    _named: frozenset[str] = frozenset()  # parts of the device whose option is named
    _replaced: frozenset[str] = frozenset()  # parts of the device that have another option
    _is_statistical = False  # whether `device/readout=statistical` is named
    _same_readout = False  # whether the option of the read-out simulates or models that of the device
    _readout: Any = None  # the keys of the option of the read-out

    def __init__(self, config_search_path: ConfigSearchPath):
        super().__init__(config_search_path)
        self.repository = _ReadOnce(config_search_path)

    def load_configuration(
        self, config_name: str | None, overrides: list[str], run_mode: RunMode, *arguments: Any, **more: Any
    ) -> DictConfig:
        meant = self._meant(config_name, overrides, run_mode)
        words = (word.partition("=")[0] for word in meant)
        self._named = frozenset(word.partition("/")[2] for word in words if word.startswith("device/"))
        self._replaced = self._other_parts(config_name, meant, run_mode)
        self._readout = OmegaConf.create()
        composed = super().load_configuration(config_name, meant, run_mode, *arguments, **more)
        chosen = composed.hydra.runtime.choices
        # `optional` names the file of tuned values also where there is none, and a record must not claim it.
        if (name := chosen.get("tuned")) and not self.repository.config_exists(f"tuned/{name}"):
            with open_dict(composed.hydra):
                chosen.tuned = "none"
        config = copy.deepcopy(composed)
        with open_dict(composed.hydra):
            composed.hydra.runtime.choices.clear()
        return config

    def compute_defaults_list(
        self, config_name: str | None, overrides: list[str], run_mode: RunMode
    ) -> DefaultsList:
        return super().compute_defaults_list(
            config_name, self._meant(config_name, overrides, run_mode), run_mode
        )

    def _load_single_config(self, default: ResultDefault, repo: IConfigRepository) -> ConfigResult:
        loaded = super()._load_single_config(default, repo)
        if default.package == "device.readout":
            node = OmegaConf.select(loaded.config, default.package) or {}  # of an empty file
            self._readout = OmegaConf.merge(self._readout, node)
        if not self._named or default.package != "device":
            return loaded
        config = copy.deepcopy(loaded.config)
        node = OmegaConf.select(config, "device")
        for name in [name for name in self._named if isinstance(node, DictConfig) and name in node]:
            keys = node[name]
            own_class = keys.get("_target_") if isinstance(keys, DictConfig) else None
            if name not in self._replaced and own_class is None:
                continue
            del node[name]
            if name == "readout" and isinstance(keys, DictConfig):
                if own_class is not None and self._is_statistical:
                    raise _not_modelled(f"the class {own_class}")
                node[name] = self._kept(keys)
        return replace(loaded, config=config)

    def _kept(self, keys: DictConfig) -> dict[str, Any]:
        """Return what the read-out takes of the keys that the device sets for its own."""
        same = self._same_readout and "_target_" not in keys
        keys = keys.get("wrapped") or keys
        models = "wrapped" in self._readout
        has = self._readout["wrapped"] if models else self._readout
        kept: dict[str, Any] = {
            str(name): keys._get_node(name)  # an interpolation stays one
            for name in keys
            if same or (name in SHARED and name in has)
        }
        return {"wrapped": kept} if models else kept

    def _other_parts(
        self, config_name: str | None, meant: Sequence[str], run_mode: RunMode
    ) -> frozenset[str]:
        """Return the parts of the device with another option than the device has by itself."""
        if not any(word.startswith(("device/", "experiment=")) for word in meant):
            return frozenset()
        devices = [word for word in meant if word.startswith("device=")]
        itself, now = (
            super(SeparateChoices, self)
            .compute_defaults_list(config_name, list(words), run_mode)
            .overrides.known_choices
            for words in (devices, meant)
        )
        if itself.get("device") != now.get("device"):  # an experiment has its own
            return frozenset()
        modelled = {_modelled(str(choices.get("device/readout"))) for choices in (itself, now)}
        self._same_readout = len(modelled) == 1
        return frozenset(
            group.partition("/")[2]
            for group, option in now.items()
            if group.startswith("device/") and itself.get(group) not in (None, option)
        )

    def _meant(self, config_name: str | None, overrides: Sequence[str], run_mode: RunMode) -> list[str]:
        """Return the overrides with the read-out that `device/readout=statistical` means."""
        chosen = [word for word in overrides if word.startswith(("device=", "experiment="))]
        self._is_statistical = STATISTICAL in overrides
        if not chosen or not self._is_statistical:
            return list(overrides)
        choices = super().compute_defaults_list(config_name, chosen, run_mode).overrides.known_choices
        own = choices.get("device/readout")
        if own is None or _modelled(own) == "off_axis":
            return list(overrides)
        model = own if own.startswith("statistical_") else f"statistical_{own}"
        if model not in self.get_group_options("device/readout"):
            raise _not_modelled(f"device/readout={own}")
        return [f"device/readout={model}" if word == STATISTICAL else word for word in overrides]


def _not_modelled(readout: str) -> DfaError:
    return DfaError(
        f"{STATISTICAL} models the noise of the read-out that the device has by itself, and nothing models that of "
        f"{readout}. Leave {STATISTICAL} out, or choose a read-out by its name, such as device/readout=off_axis."
    )


class _ReadOnce(ConfigRepository):
    """Hydra's repository of configuration files, which reads each file once for all compositions of a command.

    Hydra reads the files again for every composition, and a composition changes what it has read. So each is given a
    copy. Reading a pickled one takes a tenth of the time of parsing YAML.
    """

    def __init__(self, config_search_path: ConfigSearchPath):
        super().__init__(config_search_path)
        self._pickled: dict[tuple[str, str | None], bytes] = {}

    def load_config(self, config_path: str) -> ConfigResult | None:
        source = self._find_object_source(config_path, ObjectType.CONFIG)
        key = config_path, source and source.path
        if key not in self._pickled:
            self._pickled[key] = pickle.dumps(super().load_config(config_path))
        return pickle.loads(self._pickled[key])

    def __deepcopy__(self, memo: object) -> _ReadOnce:
        # Hydra copies its repository for each composition, which may then search other folders.
        return copy.copy(self)


def _modelled(readout: str) -> str:
    """Return the read-out whose noise this option models, or the option itself."""
    return "off_axis" if readout == "statistical" else readout.removeprefix("statistical_")


@contextlib.contextmanager
def open_hydra(folder: Path, config_dir: str | None, job_name: str = JOB_NAME) -> Iterator[Hydra]:
    """Open Hydra on the configuration in `folder`. The files of `config_dir` are added to it, as by `--config-dir`."""
    state = GlobalHydra.instance().hydra
    setbase(VERSION_BASE)
    search_path = create_config_search_path(str(folder))
    if config_dir is not None:
        path = f"file://{os.path.abspath(config_dir)}"
        search_path.prepend("command-line", path, SearchPathQuery(provider="schema"))
    GlobalHydra.instance().clear()
    try:
        hydra = Hydra.create_main_hydra2(job_name, search_path)
        hydra.config_loader = SeparateChoices(search_path)
        yield hydra
    finally:
        GlobalHydra.instance().hydra = state


@contextlib.contextmanager
def own_loader() -> Iterator[None]:
    """Let `hydra.main` compose by `SeparateChoices`, so that it shows what a run would use."""
    names = hydra_module.__dict__
    before = names["ConfigLoaderImpl"]
    names["ConfigLoaderImpl"] = SeparateChoices
    try:
        yield
    finally:
        names["ConfigLoaderImpl"] = before


def apply_values(overrides: Sequence[Override], config: DictConfig) -> None:
    """Apply overrides that only change a value, such as `seed=3`, to a configuration that is composed already."""
    ConfigLoaderImpl._apply_overrides_to_config(list(overrides), config)


def set_task_overrides(config: DictConfig, overrides: Sequence[Override]) -> None:
    """Enter the overrides of a job into Hydra's own node, and into the folder name that Hydra makes of them."""
    task = [override for override in overrides if not override.is_hydra_override()]
    settings = config.hydra.job.config.override_dirname
    with open_dict(config.hydra):
        config.hydra.overrides.task = [override.input_line for override in task]
        config.hydra.job.override_dirname = get_overrides_dirname(
            task, kv_sep=settings.kv_sep, item_sep=settings.item_sep, exclude_keys=settings.exclude_keys
        )


def run_job(config: DictConfig, task: TaskFunction) -> Any:
    """Run `task` as `hydra.main` runs a single job, on a configuration that is composed already.

    Hydra makes the folder, `.hydra/` and run.log, applies `hydra.job.chdir` and `hydra.job.env_set`, and calls the
    callbacks. Returns what the task returns, and raises what it raises.
    """
    callbacks = Callbacks(config)
    callbacks.on_run_start(config=config, config_name=config.hydra.job.config_name)
    try:
        job_return = utils.run_job(
            hydra_context=HydraContext(GlobalHydra.instance().config_loader(), callbacks),
            task_function=task,
            config=config,
            job_dir_key="hydra.run.dir",
            job_subdir_key=None,
        )
    except ValueError as error:
        # `logging` raises it when run.log cannot be opened, and does not say why.
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        raise
    callbacks.on_run_end(config=config, config_name=config.hydra.job.config_name, job_return=job_return)
    if job_return.status is utils.JobStatus.FAILED:
        raise job_return._return_value  # `return_value` would also print a message on standard error
    return job_return.return_value


class ComposedJobs(ConfigLoaderImpl):
    """Gives launchers configurations that are composed already. Hydra's own loader would compose each again.

    `find` takes the launcher's configuration and the overrides of a job, and returns the configuration of the job,
    which includes Hydra's node. A launcher pickles this loader and calls it in the process that runs the job.
    """

    def __init__(self, find: Callable[[DictConfig, Sequence[str]], DictConfig]):
        super().__init__(create_config_search_path(None))
        self.find = find

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        return self.find(master_config, sweep_overrides)


def launch_jobs(
    master: DictConfig,
    find: Callable[[DictConfig, Sequence[str]], DictConfig],
    task: TaskFunction,
    jobs: Sequence[Sequence[str]],
    first: int,
    at_once: int | None,
) -> None:
    """Run jobs with the launcher that `master` names.

    `find`: as in `ComposedJobs`.
    `jobs`: the overrides of each job.
    `first`: the number of the first job. The others are counted on from it.
    `at_once`: how many jobs the launcher is given at a time. `None` gives it all of them.
    """
    setbase(VERSION_BASE)
    utils.setup_globals()
    callbacks = Callbacks(master)
    name = master.hydra.job.config_name
    callbacks.on_multirun_start(config=master, config_name=name)
    context = HydraContext(ComposedJobs(find), callbacks)
    launcher: Launcher = Plugins.instance().instantiate_launcher(
        hydra_context=context, task_function=task, config=master
    )
    size = at_once or len(jobs)
    for start in range(0, len(jobs), size):
        launcher.launch(jobs[start : start + size], initial_job_idx=first + start)
    callbacks.on_multirun_end(config=master, config_name=name)


class NamedTrials(SeparateChoices):
    """The loader, extended to give each trial of a search a run id, which its folder and record share."""

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        config = super().load_sweep_config(master_config, sweep_overrides)
        config.run_id = secrets.token_hex(4)
        return config


def run_sweeper(hydra: Hydra, config_name: str, overrides: Sequence[str], task: TaskFunction) -> None:
    """Run `task` for each job that the sweeper picks. The overrides say which sweeper that is."""
    hydra.config_loader = NamedTrials(hydra.config_loader.get_search_path())
    hydra.multirun(config_name, task, list(overrides))
