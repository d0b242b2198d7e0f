"""The only file that imports `hydra._internal`: what Hydra does not offer under a public name.

Hydra is pinned below 1.4 in pyproject.toml, so a change of these names arrives with an upgrade that is asked for.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path, get_args_parser
from hydra.core import utils
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from hydra.version import setbase
from omegaconf import DictConfig, open_dict

VERSION_BASE = "1.3"
JOB_NAME = "dfa"  # hydra.job.name


def arguments_parser(prog: str) -> argparse.ArgumentParser:
    """Hydra's own parser of a command line: its flags, and the overrides between them."""
    parser = get_args_parser()
    parser.prog = prog
    return parser


@contextlib.contextmanager
def hydra_on(folder: Path, config_dir: str | None, job_name: str = JOB_NAME) -> Iterator[Hydra]:
    """Hydra with the configuration in `folder`, and with that in `config_dir` where `--config-dir` would put it."""
    state = GlobalHydra.instance().hydra
    setbase(VERSION_BASE)
    search_path = create_config_search_path(str(folder))
    if config_dir is not None:
        path = f"file://{os.path.abspath(config_dir)}"
        search_path.prepend("command-line", path, SearchPathQuery(provider="schema"))
    GlobalHydra.instance().clear()
    try:
        yield Hydra.create_main_hydra2(job_name, search_path)
    finally:
        GlobalHydra.instance().hydra = state


def apply_values(overrides: Sequence[Override], config: DictConfig) -> None:
    """Put the values of overrides that change a value, and nothing else, into a composed configuration."""
    ConfigLoaderImpl._apply_overrides_to_config(list(overrides), config)


def set_task_overrides(config: DictConfig, overrides: Sequence[Override]) -> None:
    """Say in Hydra's own node which overrides made this job, and in the name that Hydra makes of them."""
    task = [one for one in overrides if not one.is_hydra_override()]
    names = config.hydra.job.config.override_dirname
    with open_dict(config.hydra):
        config.hydra.overrides.task = [one.input_line for one in task]
        config.hydra.job.override_dirname = get_overrides_dirname(
            task, kv_sep=names.kv_sep, item_sep=names.item_sep, exclude_keys=names.exclude_keys
        )


def run_job(config: DictConfig, task: TaskFunction) -> Any:
    """Run `task` as `hydra.main` runs a single job, on a configuration that is composed already.

    The folder, `.hydra/`, run.log, `hydra.job.chdir`, `hydra.job.env_set` and callbacks are Hydra's. Returns what the
    task returns, and raises what it raises.
    """
    callbacks = Callbacks(config)
    callbacks.on_run_start(config=config, config_name=config.hydra.job.config_name)
    done = utils.run_job(
        hydra_context=HydraContext(GlobalHydra.instance().config_loader(), callbacks),
        task_function=task,
        config=config,
        job_dir_key="hydra.run.dir",
        job_subdir_key=None,
    )
    callbacks.on_run_end(config=config, config_name=config.hydra.job.config_name, job_return=done)
    if done.status is utils.JobStatus.FAILED:
        raise done._return_value  # `return_value` would say so on standard error as well
    return done.return_value


class ComposedJobs(ConfigLoaderImpl):
    """Gives launchers configurations that are composed already, where Hydra's own loader composes each from its files.

    `find` returns the configuration of a job, Hydra's node among it, for the job's overrides. A launcher pickles the
    loader and asks it in the process that runs the job.
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
    """Hand jobs to the launcher that `master` names, `at_once` of them at a time, numbered from `first`."""
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


class NamedTrials(ConfigLoaderImpl):
    """Hydra's own loader, which gives each trial of a search a name: its folder and its record carry the same one."""

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        config = super().load_sweep_config(master_config, sweep_overrides)
        config.run_id = secrets.token_hex(4)
        return config


def run_sweeper(hydra: Hydra, config_name: str, overrides: Sequence[str], task: TaskFunction) -> None:
    """Let the sweeper that the overrides name choose its jobs, and have each of them run `task`."""
    hydra.config_loader = NamedTrials(hydra.config_loader.get_search_path())
    hydra.multirun(config_name, task, list(overrides))
