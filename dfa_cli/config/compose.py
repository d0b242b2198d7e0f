"""Hands a command's overrides to Hydra; the only file that touches `sys.argv`.

A configuration is composed twice: first here, to answer a mistake in one sentence before a folder is made or torch
is imported, then by `hydra.main`, which runs the job.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import functools
import hashlib
import importlib.util
import itertools
import math
import os
import secrets
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from dfa_cli import schema
from dfa_cli.errors import DfaError
from dfa_cli.memory import importing
from dfa_cli.overrides import (
    expand,
    is_group,
    is_hydras,
    quoted,
    require_known,
    require_one_value,
    require_tuned,
    require_values,
    told_apart,
    typed,
    with_aliases,
    words_of,
)
from dfa_cli.own_code import let_import, require_modules
from dfa_cli.progress import shortest
from dfa_cli.results.record import UNWRITABLE, cannot_write, status
from dfa_cli.shipped import conf_dir

COMPLETED, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130  # exit codes

# in every process that unpickles `task`, a worker of a parallel sweep included
OmegaConf.register_new_resolver("dfa_id", lambda: run_id(), replace=True)
OmegaConf.register_new_resolver("dfa_token", lambda: secrets.token_hex(4), use_cache=True, replace=True)
schema.register()


def run_id() -> str:
    """8 hexadecimal digits: of a job of `train -m` the same wherever it is asked for, else drawn anew."""
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        context = HydraConfig.get()
        number = "" if OmegaConf.is_missing(context.job, "num") else context.job.num
        place = f"{context.sweep.dir}/{context.job.name}/{number}"
        return hashlib.sha256(place.encode()).hexdigest()[:8]
    return secrets.token_hex(4)


@dataclass(frozen=True)
class Job:
    """One point of a sweep, or the only one: its words, its configuration, the option chosen of each group; the folder
    of the run or of the whole sweep; the launcher and the sweeper, unresolved, as Hydra has them; the grids of an
    experiment, `{key: values}` each."""

    overrides: list[str]
    config: dict[str, Any]
    choices: dict[str, str]
    folder: Path
    launcher: dict[str, Any] = field(default_factory=dict)
    sweeper: dict[str, Any] = field(default_factory=dict)
    grids: list[dict[str, Any]] = field(default_factory=list)


def launch(arguments: Sequence[str], prog: str = "dfa train") -> int:
    """Run what the arguments say and return the exit code: 0 completed, 1 failed, 2 misused, 130 interrupted."""
    arguments = with_aliases(arguments)
    require_extras(arguments)
    flags = flags_of(arguments, prog)
    if only_shows(flags):
        hydra_main(arguments, prog)
        return COMPLETED
    # named here, so that the folder and the record carry the same name
    name = [] if flags.multirun else [f"run_id='{secrets.token_hex(4)}'"]
    jobs = compose_jobs([*flags.overrides, *name], flags.multirun, flags.config_dir)
    if flags.multirun and jobs[0].grids:
        experiment = jobs[0].choices["experiment"]
        raise DfaError(
            f"experiment={experiment} has several grids, which only a sweep runs: dfa sweep experiment={experiment}"
        )
    if not flags.multirun and (jobs[0].grids or jobs[0].sweeper.get("params")):
        study = f"experiment={jobs[0].choices.get('experiment')}"
        print(f"note: this is one run; dfa sweep {study} makes all that {study} lists.", file=sys.stderr)
    stand_in = fallback(jobs)
    if stand_in:
        jobs = compose_jobs([*flags.overrides, *name, *stand_in], flags.multirun, flags.config_dir)
    refuse_to_share(jobs[0].folder, flags.multirun)
    with _place(jobs[0].folder) as top:
        where = f"hydra.{'sweep' if flags.multirun else 'run'}.dir={quoted(str(top))}"
        return _run([*arguments, *name, *stand_in, where], prog, top, len(jobs) if flags.multirun else None)


def _run(arguments: Sequence[str], prog: str, top: Path, jobs: int | None) -> int:
    """`hydra.main`, and the exit code; `jobs`: how many `-m` makes, `None` for a single run."""
    # SLURM ends a job with SIGTERM: it is then recorded like Ctrl-C
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        hydra_main(arguments, prog)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise DfaError(cannot_write(top, error)) from error
    except KeyboardInterrupt:
        print(f"\ninterrupted; what was measured is in {shortest(top)}", file=sys.stderr)
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
    return _exit_code(top, jobs)


def only_shows(flags: argparse.Namespace) -> bool:
    """Whether the arguments ask Hydra to show something, and nothing is to be run."""
    return bool(flags.help or flags.hydra_help or flags.cfg or flags.info or flags.shell_completion)


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
        schema.check(config, choices)
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


def fallback(jobs: Sequence[Job]) -> list[str]:
    """Overrides that put an embedded data set in the place of a default one that cannot be had.

    Only a default falls back: a data set that the user named is fetched, or its absence is the answer.
    """
    from dfa_cli.data.source import Source

    stand_ins: dict[str, str] = {}
    for job in jobs:
        if any(o.partition("=")[0] in ("data", "experiment") for o in job.overrides):
            continue
        name, stand_in = job.choices["data"], job.config["data"].get("stand_in")
        if stand_in is None or name in stand_ins:
            continue
        reason = Source.from_config(job.config["data_dir"], job.config["mirrors"]).available(name)
        if reason is not None:
            stand_ins[name] = f"{name} could not be had ({reason}); {stand_in} took its place"
            taken = stand_in
    if not stand_ins:
        return []
    names = {job.choices["data"] for job in jobs}
    if len(names) > 1:
        missing = ", ".join(stand_ins)
        raise DfaError(
            f"The default data set {missing} cannot be had, and these jobs have several defaults; name the data "
            "set: data=digits_graph serves every model."
        )
    (sentence,) = stand_ins.values()
    print(f"note: {sentence}.", file=sys.stderr, flush=True)
    return [f"data={taken}", f"data_fallback={quoted(sentence)}"]


def task(composed: DictConfig) -> float:
    """What Hydra calls for each job, in whatever process. The value is what a search maximises, never the test.

    In a sweep a failed job is said in a line and gives NaN, so that it takes no other with it.
    """
    context = HydraConfig.get()
    folder = Path(context.runtime.output_dir)
    overrides = typed(context.overrides.task)
    own = config_dir(context)
    command = train_command(overrides, own)
    with importing("torch"):
        from dfa_cli import experiment

    try:
        record = experiment.run(plain(composed), folder, chosen(context), overrides, command, own)
        return record["result"]["best_validation_accuracy"]
    except Exception as error:
        if context.mode == RunMode.MULTIRUN:
            reason = " ".join(str(error).split()) or type(error).__name__
            print(f"job {context.job.num} failed: {reason} (see {folder / 'run.log'})", file=sys.stderr)
            return math.nan
        if isinstance(error, DfaError):
            _failures.append(error)
            return math.nan
        raise


def config_dir(context: Any) -> str | None:
    """The folder that `--config-dir` named, from Hydra's own node: it reaches the workers of any launcher."""
    return next((one.path for one in context.runtime.config_sources if one.provider == "command-line"), None)


def train_command(overrides: Sequence[str], own: str | None) -> str:
    """What repeats a run; `own`: the folder of `--config-dir`."""
    return shlex.join(["dfa", "train", *(["--config-dir", own] if own else []), *overrides])


_failures: list[DfaError] = []  # of the single job of this process, told after Hydra has ended


# the plugin and the extra that the preset of this name needs
EXTRAS = {
    "joblib": ("hydra_joblib_launcher", "joblib"),
    "submitit_local": ("hydra_submitit_launcher", "slurm"),
    "submitit_slurm": ("hydra_submitit_launcher", "slurm"),
    "ray": ("hydra_ray_launcher", "ray"),
    "optuna": ("hydra_optuna_sweeper", "optuna"),
}


def require_extras(arguments: Sequence[str]) -> None:
    """Raises `DfaError` when a launcher or a sweeper is named whose plugin is not installed."""
    for word in arguments:
        group, _, name = word.partition("=")
        if group.rpartition("/")[2] in ("launcher", "sweeper") and name in EXTRAS:
            plugin, extra = EXTRAS[name]
            try:
                found = importlib.util.find_spec(f"hydra_plugins.{plugin}")
            except ModuleNotFoundError:
                found = None
            if found is None:
                raise DfaError(
                    f"{word} needs {plugin.replace('_', '-')}, which is not installed: pip install 'dfa-cli[{extra}]'."
                )


def flags_of(arguments: Sequence[str], prog: str) -> argparse.Namespace:
    parser = get_args_parser()
    parser.prog = prog
    return parser.parse_intermixed_args(list(arguments))


def hydra_main(arguments: Sequence[str], prog: str, task: Callable[[DictConfig], Any] = task) -> None:
    """`hydra.main` on these arguments. What is not Hydra's to explain comes out as it was raised."""
    before, full = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    # Hydra takes its options on one side of the overrides only: `a=1 -m b=1,2` is refused
    overrides = flags_of(arguments, prog).overrides
    sys.argv = [prog, *(word for word in arguments if word not in overrides), *overrides]
    os.environ["HYDRA_FULL_ERROR"] = full or "1"
    try:
        hydra.main(config_path=str(conf_dir()), config_name="config", version_base="1.3")(task)()
    finally:
        sys.argv = before
        if full is None:
            del os.environ["HYDRA_FULL_ERROR"]


def refuse_to_share(folder: Path, multirun: bool) -> None:
    """Raises `DfaError` where `hydra.run.dir` or `hydra.sweep.dir` names a folder with something of others in it: a run
    that is refused takes its folder away again, and one that is repeated would mix with the one before."""
    if multirun:
        taken, name = any(folder.glob("*/run.json")), "sweep"
        what = "holds the runs of another sweep"
    else:
        taken, name = folder.is_dir() and any(folder.iterdir()), "run"
        what = "is not empty, and a run needs a folder of its own"
    if taken:
        raise DfaError(f"{shortest(folder)} {what}: name another with hydra.{name}.dir=FOLDER.")


@contextlib.contextmanager
def _place(folder: Path) -> Iterator[Path]:
    """Makes the folder of a run. When the run is refused, what was made for it and is still empty goes again."""
    new = list(itertools.takewhile(lambda one: not one.exists(), (folder, *folder.parents)))
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DfaError(cannot_write(folder, error)) from error
        yield folder
    except DfaError:
        for one in new:
            with contextlib.suppress(OSError):
                one.rmdir()
        raise


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _exit_code(top: Path, jobs: int | None) -> int:
    """From the records, since a job may have run in another process."""
    if _failures:
        error = _failures.pop()
        trained = "train_seconds" in status(top).get("time", {}) or (top / "metrics.csv").exists()
        if not trained:
            _empty(top)  # refused before it began: an attempt, not a run
        raise error
    completed = sum(status(folder).get("status") == "completed" for folder in [top, *top.glob("*/")])
    if jobs is not None:
        print(f"\n{completed} of {jobs} completed; to compare them: dfa compare {shlex.quote(shortest(top))}")
    return COMPLETED if completed >= (jobs or 1) else FAILED
