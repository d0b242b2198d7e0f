"""Composes the words of a command into checked configurations, each once.

No folder is made here and torch is not imported, so a mistake is reported at once and leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import operator
import os
import pickle
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
from yaml import MarkedYAMLError, YAMLError

from dfa_cli.config.bounds import RefusedValueError
from dfa_cli.config.checks import check, require_classes
from dfa_cli.config.command import Command, parse_command
from dfa_cli.config.hydra_internals import apply_values, open_hydra, set_task_overrides
from dfa_cli.config.importable import require_importable
from dfa_cli.config.overrides import (
    expand_sweeps,
    hydra_message,
    is_hydra_override,
    no_option_message,
    require_discrete_sweeps,
    require_known_keys,
    require_no_deletion,
    require_no_sweep,
    require_tuned_file,
    split_overrides,
    user_overrides,
)
from dfa_cli.config.own_code import NO_CODE, OwnCode, find_own_code
from dfa_cli.config.own_files import OwnFiles, is_typed, place_of
from dfa_cli.config.paths import ONLY_PLANNED, conf_dir
from dfa_cli.config.plugins import add_plugin_folder, is_of_package, targets
from dfa_cli.config.registration import register_with_hydra
from dfa_cli.config.spec import RunSpec
from dfa_cli.errors import DfaError

# keys of Hydra's node (`config.hydra`) from which the name of a run's folder is made
FOLDER_NAME_KEYS = ["job", "overrides", "run", "runtime", "sweep"]


@dataclass(frozen=True)
class Composed:
    """A configuration that Hydra composed and that has passed all checks.

    `spec`: the run that it describes.
    `config`: the configuration with Hydra's own node in it. In a job of a sweep the node has only `FOLDER_NAME_KEYS`,
    which are enough to name the job's folder.
    `hydra`: the whole of Hydra's node.
    """

    spec: RunSpec
    config: DictConfig
    hydra: DictConfig

    @property
    def grids(self) -> list[dict[str, Any]]:
        """The grids of an experiment, each `{key: values}`."""
        return [_without_resolving(grid) for grid in self.config.grids or ()]

    @property
    def sweeper(self) -> dict[str, Any]:
        """The configuration of the sweeper, which picks the jobs of a sweep. Interpolations are not resolved."""
        return _without_resolving(self.hydra.sweeper)

    @property
    def launcher(self) -> dict[str, Any]:
        """The configuration of the launcher, which runs the jobs of a sweep. Interpolations are not resolved."""
        return _without_resolving(self.hydra.launcher)

    def run_folder(self) -> Path:
        """Return the folder in which a single run is recorded."""
        with _resolve_hydra_node_from(self.config):
            return Path(str(self.config.hydra.run.dir)).absolute()

    def sweep_folder(self) -> Path:
        """Return the folder of the whole sweep."""
        return Path(str(self.config.hydra.sweep.dir)).absolute()

    def job_folder(self, number: int) -> str:
        """Return the name that the folder of this job has inside the sweep's folder as job `number` of the sweep."""
        with open_dict(self.config.hydra):
            self.config.hydra.job.num = number
            self.config.hydra.job.id = str(number)
        return str(self.config.hydra.sweep.subdir)


class Composer:
    """Composes runs and sweeps, with one search path for all of them.

    Jobs that differ only in values, such as the seed, share one composition, which makes large sweeps fast.

        with Composer(command) as composer:
            run = composer.run(command.overrides)
            jobs = composer.jobs(command.overrides)

    `run` and `jobs` raise `DfaError` for a mistake in the overrides. Where Hydra found the mistake, the message is
    Hydra's.
    """

    def __init__(self, command: Command):
        self.command = command
        self._found: dict[tuple[str, ...], OwnCode] = {}

    def __enter__(self) -> Composer:
        register_with_hydra()
        add_plugin_folder(self.command.config_dir)
        with contextlib.ExitStack() as stack:
            self._hydra = stack.enter_context(open_hydra(conf_dir(), self.command.config_dir))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, overrides: Sequence[str], checked: bool = True) -> Composed:
        """Compose the one run that the overrides describe. `checked`: as in `job`."""
        return self._compose(overrides, RunMode.RUN, checked)

    def jobs(self, overrides: Sequence[str]) -> list[Composed]:
        """Compose every job of the sweep that the overrides describe. The grids of an experiment follow one another."""
        first = self._compose(expand_sweeps(overrides)[0], RunMode.MULTIRUN)
        if is_grid_sweep(first):
            require_discrete_sweeps(overrides)
        grids = experiment_grids(first, overrides)
        combinations = [combination for grid in grids for combination in expand_sweeps([*grid, *overrides])]
        return [self._compose(combination, RunMode.MULTIRUN) for combination in combinations]

    def job(self, overrides: Sequence[str], checked: bool = True) -> Composed:
        """Compose one job of a sweep from overrides that give each key a single value.

        `checked=False` leaves out the checks. It is for a configuration that is shown and not run.
        """
        return self._compose(overrides, RunMode.MULTIRUN, checked)

    def _compose(self, overrides: Sequence[str], mode: RunMode, checked: bool = True) -> Composed:
        loader = self._hydra.config_loader
        config_dir = self.command.config_dir
        with _hydra_errors_as_sentences(overrides, loader, config_dir):
            parts = split_overrides(overrides, loader)
            require_no_deletion(parts.every)
            if mode is RunMode.RUN:
                require_no_sweep(parts.every, self.command.prog)
            require_tuned_file(parts.every, loader, config_dir)
            pickled, whole = self._base(parts.rest, mode)
            config: DictConfig = pickle.loads(pickled)
            with _hydra_errors_as_sentences(overrides, loader, config_dir, config):
                apply_values(parts.values, config)
            set_task_overrides(config, parts.every)
            if OmegaConf.is_interpolation(config, "run_id"):
                # Choose the id once, here, so that the folder and the record have the same one.
                config.run_id = secrets.token_hex(4)
            # In a sweep `${hydra:...}` is refused, since the job has no number and no folder yet.
            with _resolve_hydra_node_from(config) if mode is RunMode.RUN else contextlib.nullcontext():
                if mode is RunMode.RUN:
                    config.hydra.runtime.output_dir = os.path.abspath(str(config.hydra.run.dir))
                plain = to_plain_config(config)
        choices = group_choices(config.hydra)
        if checked:
            with _own_files_named(overrides, choices, config_dir):
                require_known_keys(plain, overrides)
                require_classes(plain, choices)
                check(plain, choices)
        code = self._own_code(plain, choices, overrides) if checked else NO_CODE
        spec = RunSpec(plain, choices, user_overrides(overrides), config_dir, code)
        return Composed(spec, config, config.hydra if mode is RunMode.RUN else whole.hydra)

    def code_of(self, combinations: Sequence[Sequence[str]]) -> OwnCode:
        """Find the own code of all these jobs. The jobs are not checked."""
        specs = [self.job(combination, checked=False).spec for combination in combinations]
        found = [self._own_code(spec.config, spec.choices, spec.overrides) for spec in specs]
        return functools.reduce(operator.or_, found)

    def _own_code(
        self, config: Mapping[str, Any], choices: Mapping[str, str], overrides: Sequence[str]
    ) -> OwnCode:
        """Find the own code of a run, once for all jobs with the same classes. It must be possible to import it."""
        key = tuple(sorted(set(targets(config))))
        if key not in self._found:
            code, folder = find_own_code(config), self.command.config_dir
            # Otherwise all classes are those of dfa's own options.
            if folder or any("_target_" in word for word in overrides):
                with _own_files_named(overrides, choices, folder):
                    require_importable(config, choices, code, folder)
            self._found[key] = code
        return self._found[key]

    def group_options(self) -> dict[str, list[str]]:
        """Return the options of each of our groups, including those that `--config-dir` adds."""
        loader = self._hydra.config_loader
        others = ("hydra", *ONLY_PLANNED)
        groups = [
            name for name in self._hydra.list_all_config_groups() if name.partition("/")[0] not in others
        ]
        return {name: list(loader.get_group_options(name, ObjectType.CONFIG)) for name in groups}

    # Compositions are cached: putting a value into a cached one takes a twentieth of the time of another composition.
    # They are pickled, since reading that takes a fifth of the time of a deep copy.
    @functools.lru_cache(maxsize=64)  # noqa: B019  (a composer lives as long as its command)
    def _base(self, overrides: tuple[str, ...], mode: RunMode) -> tuple[bytes, DictConfig]:
        """Compose the configuration that all jobs with these overrides start from.

        Returns two configurations: the one that a job starts from, pickled, and the whole one. They differ only in a
        sweep, where the first has only `FOLDER_NAME_KEYS` of Hydra's node.
        """
        whole = self._hydra.compose_config(
            config_name=self.command.config_name,
            overrides=list(overrides),
            run_mode=mode,
            with_log_configuration=False,
            from_shell=False,
        )
        if mode is RunMode.RUN and whole.hydra.mode is RunMode.MULTIRUN:
            raise DfaError(
                "The configuration sets hydra.mode=MULTIRUN, so it describes a sweep: use dfa sweep."
            )
        with open_dict(whole.hydra):
            whole.hydra.mode = mode
            whole.hydra.overrides.hydra.append(f"hydra.mode={mode.name}")
        if mode is RunMode.RUN:
            return pickle.dumps(whole), whole
        part = copy.deepcopy(whole)
        with open_dict(part):
            part.hydra = OmegaConf.masked_copy(whole.hydra, FOLDER_NAME_KEYS)
        return pickle.dumps(part), whole


@contextlib.contextmanager
def _hydra_errors_as_sentences(
    overrides: Sequence[str],
    loader: ConfigLoader,
    config_dir: str | None,
    config: DictConfig | None = None,
) -> Iterator[None]:
    """Turn the exceptions with which Hydra refuses an override into a `DfaError`. `config`: what is composed so far."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise DfaError(hydra_message(error, overrides, config, config_dir)) from error
    except (YAMLError, UnicodeDecodeError, OSError) as error:
        broken = next(
            (file for file in OwnFiles.of_words(overrides, config_dir).files if not file.is_readable), None
        )
        if broken is None and isinstance(error, OSError):
            raise
        mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
        # The mark also names a file that only OmegaConf refuses, since a key stands twice in it.
        if mark is not None and os.path.isfile(mark.name):
            place = place_of(Path(mark.name), None)
        else:
            place = broken.at(None) if broken else "A YAML file of the configuration"
        raise DfaError(f"{place} cannot be read: {_why_unreadable(error)}.") from error
    except RecursionError as error:
        raise DfaError("A value of the configuration refers to itself.") from error
    except ValueError as error:
        # Hydra raises it for null or a number given to a group, and does not name the group.
        own = OwnFiles.of_words(overrides, config_dir)
        if places := [place for file in own.files if (place := file.place_of_no_list())]:
            raise DfaError(
                f"{places[0]}: defaults must be a list, such as `defaults: [fc, _self_]`."
            ) from error
        if sentence := no_option_message(overrides, loader):
            raise DfaError(sentence) from error
        raise


def _why_unreadable(error: Exception) -> str:
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}: {error.problem}"
    if isinstance(error, UnicodeDecodeError):
        return "it is no text in UTF-8"
    if isinstance(
        error, OSError
    ):  # OmegaConf raises it without a reason of the system for a file such as `5`
        return error.strerror or "it must hold keys with values, such as `epochs: 3`"
    return " ".join(str(error).split())


@contextlib.contextmanager
def _own_files_named(
    overrides: Sequence[str], choices: Mapping[str, str], config_dir: str | None
) -> Iterator[None]:
    """Name the user's own file and the line from which a refused value comes, if nobody typed it."""
    try:
        yield
    except RefusedValueError as error:
        typed = error.key not in choices and is_typed(error.key, overrides)
        place = None if typed else OwnFiles(choices, config_dir).place(error.key)
        raise DfaError(f"{place}: {error}" if place else str(error)) from error


@contextlib.contextmanager
def _resolve_hydra_node_from(config: DictConfig) -> Iterator[None]:
    """Let the interpolation `${hydra:...}` read Hydra's node in `config`, as it does when the job runs."""
    node: Any = HydraConfig.instance()
    before, node.cfg = node.cfg, config
    try:
        yield
    finally:
        node.cfg = before


def compose_run(words: Sequence[str], prog: str = "dfa train") -> RunSpec:
    """Compose the run that `dfa train WORDS` describes. `prog`: the command in whose name mistakes are told."""
    command = parse_command(words, prog)
    with Composer(command) as composer:
        return composer.run(command.overrides).spec


def compose_sweep(words: Sequence[str]) -> list[RunSpec]:
    """Compose every run that `dfa sweep WORDS` describes."""
    command = parse_command(words, "dfa sweep")
    with Composer(command) as composer:
        return [job.spec for job in composer.jobs(command.overrides)]


def spec_of_job(config: DictConfig, overrides: Sequence[str], code: OwnCode) -> RunSpec:
    """Describe the run of a job that Hydra has just started, from the configuration that the job was given.

    `code`: the own code of all jobs.
    """
    context = HydraConfig.get()
    sources = context.runtime.config_sources
    config_dir = next((source.path for source in sources if source.provider == "command-line"), None)
    plain = to_plain_config(config)
    used = code.used_by(plain)
    # A search may pick a class that its command line does not show. Its code is found now.
    others = [
        target
        for target in targets(plain)
        if not is_of_package(target) and target.rpartition(".")[0] not in used.modules
    ]
    if others:
        add_plugin_folder(config_dir)
        used = find_own_code({"picked": [{"_target_": target} for target in others]}) | used
    return RunSpec(plain, group_choices(context), list(overrides), config_dir, used)


def is_grid_sweep(job: Composed) -> bool:
    """Whether the sweeper runs every combination of the values, as Hydra's own sweeper does, and does not search."""
    return str(job.sweeper.get("_target_")).endswith("BasicSweeper")


def experiment_grids(job: Composed, overrides: Sequence[str]) -> list[list[str]]:
    """Return the sweeps that the configuration itself describes, as the files of conf/experiment do.

    Each sweep is a list of overrides, from the lists of values in one grid and in `hydra.sweeper.params`. A key that
    the user typed is left out, so the typed value holds. A sweeper that searches picks the values itself, so the
    answer is one empty grid.
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
    """Convert a configuration to nested dictionaries and lists, with every interpolation resolved.

    Hydra's node and `grids` are left out, since no run reads them.
    """
    values = {str(key): config[key] for key in config if key not in ("hydra", "grids")}
    return {
        key: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        for key, value in values.items()
    }


def group_choices(hydra: Any) -> dict[str, str]:
    """Return the option chosen of each of our groups, from Hydra's own node."""
    groups: Mapping[str, str] = hydra.runtime.choices
    return {group: option for group, option in groups.items() if not is_hydra_override(f"{group}=")}


def _without_resolving(node: DictConfig) -> dict[str, Any]:
    content = OmegaConf.to_container(node)
    assert isinstance(content, dict)
    return {str(key): value for key, value in content.items()}
