"""Splits the words of a command into Hydra's flags and overrides."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NoReturn

from dfa_cli.config.extras import require_extras
from dfa_cli.config.hydra_internals import hydra_argument_parser
from dfa_cli.config.overrides import expand_aliases, require_no_params
from dfa_cli.config.own_files import place_of
from dfa_cli.config.paths import CHOSEN_BY_NAME, conf_dir
from dfa_cli.config.schema import Config
from dfa_cli.errors import DfaError, nearest


@dataclass(frozen=True)
class Command:
    """The words that somebody typed after `dfa train` or `dfa sweep`.

    `words`: all words, aliases expanded.
    `overrides`: the words that are not flags.
    `config_dir`: the folder given to `--config-dir`.
    `multirun`: the command asks for several runs, with `-m` for example.
    `dry_run`: the command asks what a sweep would do, and nothing is run.
    `asks_help`: the command asks for the help of dfa, and nothing is run.
    `asks_hydra`: the command asks Hydra to print something, with `--cfg job` for example, and nothing is run.
    """

    prog: str
    words: list[str]
    overrides: list[str]
    config_name: str
    config_dir: str | None
    multirun: bool
    dry_run: bool
    asks_help: bool
    asks_hydra: bool


def _sets_mode(word: str) -> bool:
    return word.lstrip("+").startswith("hydra.mode=")


def _argument_parser(prog: str) -> argparse.ArgumentParser:
    """Return Hydra's parser with the flag of ours. It answers a mistake with a sentence, and not with Hydra's usage."""
    parser = hydra_argument_parser(prog)
    parser.add_argument("--dry-run", action="store_true")
    flags = re.findall(r"--[\w-]+", parser.format_usage())

    def refuse(message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ").partition(" ")[0]
        # Without the dashes, which every option has.
        typed, _, value = unknown.lstrip("-").partition("=")
        if (key := typed.replace("-", "_")) in {one.name for one in fields(Config)}:
            raise DfaError(f"{prog}: a key has no dashes before it; type {key}={value or 'VALUE'}.")
        names = [flag.lstrip("-") for flag in flags]
        guesses = nearest(typed, names, most=1) if unknown != message else []
        hint = f" (did you mean --{guesses[0]}?)" if guesses else ""
        raise DfaError(f"{prog}: {message}{hint}; {prog} --help tells what can be given.")

    parser.error = refuse
    return parser


def _folder_of_groups(folder: Path) -> Path | None:
    """Return the folder that was meant, for one like `mine/device` or `mine/device/readout`. `None`: this is it.

    A folder with the name of a group may well hold groups itself.
    """
    path = Path(os.path.abspath(folder))
    groups = {one.name for one in conf_dir().iterdir() if one.is_dir()}
    if any((path / group).is_dir() for group in groups):
        return None
    if path.name in groups and any(path.rglob("*.yaml")):
        above = path.parent
    elif (conf_dir() / path.parent.name / path.name).is_dir() and path.parent.name in groups:
        above = path.parent.parent
    else:
        return None
    shown = Path(os.path.relpath(above))
    return above if shown.parts[:1] == (os.pardir,) else shown


def _taken_name(folder: Path, overrides: Sequence[str]) -> Path | None:
    """Return a file that has the group and the name of an option of dfa, which Hydra takes instead.

    A file of an option that the command does not choose is no obstacle, and neither is a copy of the option.
    """
    for ours in sorted(conf_dir().glob("*/**/*.yaml")):
        file = folder / ours.relative_to(conf_dir())
        if not file.is_file() or file.read_bytes() == ours.read_bytes():
            continue
        group = file.parent.relative_to(folder).as_posix()
        pairs = [word.lstrip("+").partition("=") for word in overrides]
        chosen = [
            option for key, _, value in pairs if key == group for option in re.findall(r"[\w.-]+", value)
        ]
        if file.stem in chosen or (not chosen and group not in CHOSEN_BY_NAME):
            return file
    return None


def parse_command(words: Sequence[str], prog: str) -> Command:
    """Split the words of a command into flags and overrides.

    Raises `DfaError` when the folder of `--config-dir` does not exist, or when a plugin is not installed.
    """
    words = expand_aliases(words)
    require_extras(words)
    flags = _argument_parser(prog).parse_intermixed_args(words)
    if flags.config_path is not None:
        raise DfaError(
            f"{prog} takes no --config-path, since it always uses its own configuration; "
            "add yours to it with --config-dir FOLDER."
        )
    if flags.config_dir is not None and not Path(flags.config_dir).is_dir():
        raise DfaError(f"--config-dir {flags.config_dir} is not a folder.")
    if flags.config_dir is not None and not os.access(flags.config_dir, os.R_OK | os.X_OK):
        raise DfaError(f"--config-dir {flags.config_dir} cannot be read: you lack the permission.")
    if flags.config_dir is not None and (above := _folder_of_groups(Path(flags.config_dir))):
        raise DfaError(
            f"--config-dir {flags.config_dir} is the folder of a group, whose options are looked for one level up; "
            f"type --config-dir {shlex.quote(str(above))}."
        )
    if flags.config_dir is not None and (taken := _taken_name(Path(flags.config_dir), flags.overrides)):
        group, option = taken.relative_to(flags.config_dir).parent, taken.stem
        raise DfaError(
            f"{place_of(taken, None)} would not be used, since dfa has {group}={option} itself; give the file another "
            f"name, such as my_{option}.yaml, and choose that: {group}=my_{option}."
        )
    require_no_params(flags.overrides)
    if flags.experimental_rerun is not None:
        raise DfaError(f"{prog} takes no --experimental-rerun; dfa rerun RUN repeats a run from its record.")
    modes = [word for word in flags.overrides if _sets_mode(word)]
    return Command(
        prog=prog,
        words=[word for word in words if word not in modes and not word.startswith("--dry")],
        overrides=[word for word in flags.overrides if word not in modes],
        config_name=flags.config_name or "config",
        # Make the path absolute: the record keeps it, and a run may be repeated from another folder.
        config_dir=None if flags.config_dir is None else os.path.abspath(flags.config_dir),
        # Hydra reads `hydra.mode=MULTIRUN` and `hydra.mode=2` as the same mode, which `-m` also sets.
        multirun=flags.multirun or any(word.endswith(("MULTIRUN", "MULTIRUN'", "=2")) for word in modes),
        dry_run=flags.dry_run,
        asks_help=flags.help,
        asks_hydra=bool(flags.hydra_help or flags.cfg or flags.info or flags.shell_completion),
    )
