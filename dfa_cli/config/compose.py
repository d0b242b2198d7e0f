"""From the words of a command to checked configurations, composed once.

Nothing heavy is imported here, and no folder is made: what is wrong is said before either.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.object_type import ObjectType
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from dfa_cli.config.checks import check
from dfa_cli.config.command import Command, parse_command
from dfa_cli.config.hydra_internals import apply_values, hydra_on, set_task_overrides
from dfa_cli.config.overrides import (
    expand,
    hydra_message,
    is_group,
    is_hydra_override,
    require_known,
    require_one_value,
    require_tuned,
    require_values,
    split_overrides,
    user_overrides,
)
from dfa_cli.config.paths import conf_dir
from dfa_cli.config.plugins import add_plugin_folder, require_modules
from dfa_cli.config.registration import register_with_hydra
from dfa_cli.config.spec import RunSpec
from dfa_cli.errors import DfaError

OF_A_FOLDER = [
    "job",
    "overrides",
    "run",
    "runtime",
    "sweep",
]  # of Hydra's node: what a folder's name is made of


@dataclass(frozen=True)
class Composed:
    """A configuration as Hydra composed it, checked.

    `spec`: the run that it describes; `config`: with Hydra's own node in it, of a sweep's job only with what its
    folder is named after; `hydra`: that node, whole; `grids`: those of an experiment, `{key: values}` each.
    """

    spec: RunSpec
    config: DictConfig
    hydra: DictConfig
    grids: list[dict[str, Any]]

    @property
    def sweeper(self) -> dict[str, Any]:
        """Who picks the jobs of a sweep, unresolved, as Hydra has it."""
        return _unresolved(self.hydra.sweeper)

    @property
    def launcher(self) -> dict[str, Any]:
        """Who runs the jobs of a sweep, unresolved, as Hydra has it."""
        return _unresolved(self.hydra.launcher)

    def run_folder(self) -> Path:
        """Where a single run is recorded."""
        with _seen_by_interpolations(self.config):
            return Path(str(self.config.hydra.run.dir)).absolute()

    def sweep_folder(self) -> Path:
        """The folder of the whole sweep."""
        return Path(str(self.config.hydra.sweep.dir)).absolute()

    def job_folder(self, number: int) -> str:
        """The folder of this job in that of its sweep, when it is job `number`."""
        with open_dict(self.config.hydra):
            self.config.hydra.job.num = number
            self.config.hydra.job.id = str(number)
        return str(self.config.hydra.sweep.subdir)


class Composer:
    """Composes runs and sweeps. One search path serves them all, and jobs that differ in values share a composition.

        with Composer(command) as composer:
            run = composer.run(command.overrides)
            jobs = composer.jobs(command.overrides)

    Both raise `DfaError` for what does not fit, in Hydra's own words for what Hydra refuses.
    """

    def __init__(self, command: Command):
        self.command = command

    def __enter__(self) -> Composer:
        register_with_hydra()
        add_plugin_folder(self.command.config_dir)
        with contextlib.ExitStack() as stack:
            self._hydra = stack.enter_context(hydra_on(conf_dir(), self.command.config_dir))
            self._leave = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._leave.close()

    def run(self, overrides: Sequence[str]) -> Composed:
        """The one run that the overrides stand for."""
        return self._compose(overrides, RunMode.RUN)

    def jobs(self, overrides: Sequence[str]) -> list[Composed]:
        """Every job of the sweep that the overrides stand for; of an experiment, one grid after the other."""
        first = self._compose(expand(overrides)[0], RunMode.MULTIRUN)
        if is_grid_sweep(first):
            require_values(overrides)
        grids = experiment_grids(first, overrides)
        points = [point for grid in grids for point in expand([*grid, *overrides])]
        return [self._compose(point, RunMode.MULTIRUN) for point in points]

    def job(self, overrides: Sequence[str]) -> Composed:
        """One job of a sweep, whose values are chosen already."""
        return self._compose(overrides, RunMode.MULTIRUN)

    def _compose(self, overrides: Sequence[str], mode: RunMode) -> Composed:
        loader = self._hydra.config_loader
        with _refused_in_a_sentence(overrides, loader):
            words = split_overrides(overrides, loader)
            if mode is RunMode.RUN:
                require_one_value(words.every)
            require_tuned(words.every, loader, self.command.config_dir)
            config, hydra = self._base(words.rest, mode)
            config = copy.deepcopy(config)
            apply_values(words.values, config)
            set_task_overrides(config, words.every)
            if OmegaConf.is_interpolation(config, "run_id"):
                config.run_id = secrets.token_hex(
                    4
                )  # once, so that the folder and the record carry the same name
            with _seen_by_interpolations(config if mode is RunMode.RUN else hydra):
                plain = to_plain_config(config)
            grids = OmegaConf.to_container(config.grids) if config.grids else []
        choices = group_choices(config.hydra)
        require_known(plain)
        check(plain, choices)
        require_modules(plain, choices)
        spec = RunSpec(plain, choices, user_overrides(overrides), self.command.config_dir)
        assert isinstance(grids, list)
        return Composed(spec, config, config.hydra if mode is RunMode.RUN else hydra.hydra, grids)

    def group_options(self) -> dict[str, list[str]]:
        """Every group of ours and the options that it has, those of `--config-dir` among them."""
        loader = self._hydra.config_loader
        groups = [name for name in self._hydra.list_all_config_groups() if name.partition("/")[0] != "hydra"]
        return {name: list(loader.get_group_options(name, ObjectType.CONFIG)) for name in groups}

    # Putting a value into a configuration takes a twentieth of the time of composing one.
    @functools.lru_cache(maxsize=64)  # noqa: B019  (a composer lives as long as its command)
    def _base(self, overrides: tuple[str, ...], mode: RunMode) -> tuple[DictConfig, DictConfig]:
        """What all jobs with these overrides start from, and all of it, of which a job of a sweep takes a part."""
        whole = self._hydra.compose_config(
            config_name=self.command.config_name,
            overrides=list(overrides),
            run_mode=mode,
            with_log_configuration=False,
            from_shell=False,
        )
        if mode is RunMode.RUN:
            return whole, whole
        part = copy.deepcopy(whole)
        with open_dict(part):
            part.hydra = OmegaConf.masked_copy(whole.hydra, OF_A_FOLDER)
        return part, whole


@contextlib.contextmanager
def _refused_in_a_sentence(overrides: Sequence[str], loader: ConfigLoader) -> Iterator[None]:
    """What Hydra refuses, as a `DfaError`."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise DfaError(hydra_message(error)) from error
    except ValueError as error:  # what Hydra says to a group that gets a number, without naming it
        wrong = " ".join(word for word in overrides if is_group(word.partition("=")[0], loader))
        raise DfaError(
            f"{wrong}: a group takes the name of one of its options; dfa train --help lists them ({error})."
        ) from error


@contextlib.contextmanager
def _seen_by_interpolations(config: DictConfig) -> Iterator[None]:
    """Have `${hydra:...}` read Hydra's node in `config`, as it will when the job runs."""
    node: Any = HydraConfig.instance()
    before, node.cfg = node.cfg, config
    try:
        yield
    finally:
        node.cfg = before


def compose_run(words: Sequence[str]) -> RunSpec:
    """The run that `dfa train WORDS` stands for."""
    command = parse_command(words, "dfa train")
    with Composer(command) as composer:
        return composer.run(command.overrides).spec


def compose_sweep(words: Sequence[str]) -> list[RunSpec]:
    """Every run that `dfa sweep WORDS` stands for."""
    command = parse_command(words, "dfa sweep")
    with Composer(command) as composer:
        return [job.spec for job in composer.jobs(command.overrides)]


def spec_of_job(config: DictConfig, overrides: Sequence[str]) -> RunSpec:
    """The run that Hydra has just started a job for, from the configuration that it hands to the job."""
    context = HydraConfig.get()
    sources = context.runtime.config_sources
    config_dir = next((one.path for one in sources if one.provider == "command-line"), None)
    return RunSpec(to_plain_config(config), group_choices(context), list(overrides), config_dir)


def is_grid_sweep(job: Composed) -> bool:
    """Whether the sweeper takes every combination, as Hydra's own does, and searches for nothing."""
    return str(job.sweeper.get("_target_")).endswith("BasicSweeper")


def experiment_grids(job: Composed, overrides: Sequence[str]) -> list[list[str]]:
    """The lists of values that the configuration itself gives, as those of conf/experiment do: of each grid its own
    and what `hydra.sweeper.params` gives to all of them.

    What is typed wins. A sweeper that searches has parameters of its own kind, and picks the values itself.
    """
    if not is_grid_sweep(job):
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


def to_plain_config(config: DictConfig) -> dict[str, Any]:
    """Nested dictionaries and lists, every interpolation resolved, without Hydra's node and what only a sweep reads."""
    values = {str(key): config[key] for key in config if key not in ("hydra", "grids")}
    return {
        key: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        for key, value in values.items()
    }


def group_choices(hydra: Any) -> dict[str, str]:
    """The option of each of our groups, from Hydra's own node."""
    groups: Mapping[str, str] = hydra.runtime.choices
    return {group: option for group, option in groups.items() if not is_hydra_override(f"{group}=")}


def _unresolved(node: DictConfig) -> dict[str, Any]:
    content = OmegaConf.to_container(node)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}
