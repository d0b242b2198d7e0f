"""Overrides composed into checked configurations.

A configuration is composed twice: first here, to answer a mistake in one sentence before a folder is made or torch
is imported, then by `hydra.main`, which runs the job.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from dfa_cli.config import checks, schema
from dfa_cli.config.hydra_entry import run_id
from dfa_cli.config.overrides import (
    expand,
    is_group,
    is_hydras,
    quoted,
    require_known,
    require_one_value,
    require_tuned,
    require_values,
    told_apart,
    words_of,
)
from dfa_cli.config.paths import conf_dir
from dfa_cli.config.plugins import let_import, require_modules
from dfa_cli.config.spec import Job
from dfa_cli.errors import DfaError

# in every process that unpickles `task`, a worker of a parallel sweep included
OmegaConf.register_new_resolver("dfa_id", lambda: run_id(), replace=True)
OmegaConf.register_new_resolver("dfa_token", lambda: secrets.token_hex(4), use_cache=True, replace=True)
schema.register()


def compose_jobs(overrides: Sequence[str], multirun: bool, config_dir: str | None = None) -> list[Job]:
    """Every job that the overrides stand for, composed and checked.

    Raises `DfaError` for a value out of bounds, and with Hydra's own words for what Hydra refuses.
    """
    points = expand(overrides) if multirun else [list(overrides)]
    with composer(multirun, config_dir) as compose:
        if multirun:
            first = compose(points[0])
            if takes_all(first):
                require_values(overrides)
            grids = swept(first, overrides)
            points = [point for grid in grids for point in expand([*grid, *overrides])]
        return [compose(point) for point in points]


def takes_all(job: Job) -> bool:
    """Whether the sweeper takes every combination, as Hydra's own does, and searches for nothing."""
    return str(job.sweeper.get("_target_")).endswith("BasicSweeper")


def swept(job: Job, overrides: Sequence[str]) -> list[list[str]]:
    """The lists of values that the configuration itself gives, as those of conf/experiment do: of each grid its own
    and what `hydra.sweeper.params` gives to all of them.

    What is typed wins. A sweeper that searches has parameters of its own kind, and picks the values itself.
    """
    if not takes_all(job):
        return [[]]
    typed = {word.partition("=")[0] for word in overrides}
    return [
        [
            f"{key}={value}"
            for key, value in ((job.sweeper.get("params") or {}) | grid).items()
            if key not in typed
        ]
        for grid in job.grids or [{}]
    ]


@contextlib.contextmanager
def composer(multirun: bool, config_dir: str | None = None) -> Iterator[Callable[[Sequence[str]], Job]]:
    """Gives a function from overrides to a checked `Job`; one search path serves many jobs."""
    extra = [f"hydra.mode={'MULTIRUN' if multirun else 'RUN'}"]
    if config_dir is not None:
        if not Path(config_dir).is_dir():
            raise DfaError(f"--config-dir {config_dir} is not a folder.")
        let_import(config_dir)
        extra.append(f"hydra.searchpath=[{quoted('file://' + os.path.abspath(config_dir))}]")

    # The jobs of a sweep mostly differ in values, and putting a value into a configuration takes a twentieth of the
    # time of composing one.
    @functools.lru_cache(maxsize=64)
    def base(overrides: tuple[str, ...]) -> tuple[DictConfig, dict[str, str], list[Any]]:
        composed = hydra.compose("config", [*overrides, *extra], return_hydra_config=True)
        choices = chosen(composed.hydra)
        engine = [OmegaConf.to_container(composed.hydra[name]) for name in ("launcher", "sweeper")]
        engine.append(OmegaConf.to_container(composed.grids) if composed.grids else [])
        with open_dict(composed):
            # what the folder's name is made of, and nothing else of Hydra's, since every job gets a copy
            composed.hydra = OmegaConf.masked_copy(composed.hydra, ["run", "sweep", "runtime"])
        return composed, choices, engine

    def compose(overrides: Sequence[str]) -> Job:
        try:
            loader = GlobalHydra.instance().config_loader()
            words = told_apart(overrides, loader)
            if not multirun:
                require_one_value(words.every)
            require_tuned(words.every, loader, config_dir)
            composed, choices, engine = base(words.rest)
            composed = copy.deepcopy(composed)
            ConfigLoaderImpl._apply_overrides_to_config(words.values, composed)
            folder = Path(str(composed.hydra.sweep.dir if multirun else composed.hydra.run.dir)).absolute()
            with open_dict(composed):
                del composed["hydra"]
            config = plain(composed)
        except (HydraException, OmegaConfBaseException) as error:
            raise DfaError(words_of(error)) from error
        except ValueError as error:  # what Hydra says to a group that gets a number, without naming it
            loader = GlobalHydra.instance().config_loader()
            wrong = " ".join(word for word in overrides if is_group(word.partition("=")[0], loader))
            raise DfaError(
                f"{wrong}: a group takes the name of one of its options; dfa train --help lists them ({error})."
            ) from error
        require_known(config)
        checks.check(config, choices)
        require_modules(config, choices)
        return Job(list(overrides), config, choices, folder, *engine)

    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield compose


def chosen(context: Any) -> dict[str, str]:
    """The option of each of our groups, from Hydra's own node."""
    groups = context.runtime.choices.items()
    return {group: option for group, option in groups if not is_hydras(f"{group}=")}


def plain(config: DictConfig) -> dict[str, Any]:
    """Nested dictionaries and lists, every interpolation resolved, less what only a sweep reads."""
    content = OmegaConf.to_container(config, resolve=True)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items() if key != "grids"}
