"""The words of a command, read once: Hydra's flags told from the overrides between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dfa_cli.config.extras import require_extras
from dfa_cli.config.hydra_internals import arguments_parser
from dfa_cli.config.overrides import expand_aliases
from dfa_cli.errors import DfaError


@dataclass(frozen=True)
class Command:
    """What somebody typed after `dfa train` or `dfa sweep`.

    `words`: all of it, aliases expanded; `overrides`: those that are no flags; `config_dir`: the folder of
    `--config-dir`; `multirun`: several runs are meant; `asks_help`, `asks_hydra`: something is to be shown by us, or
    by Hydra, and nothing is run.
    """

    prog: str
    words: list[str]
    overrides: list[str]
    config_name: str
    config_dir: str | None
    multirun: bool
    asks_help: bool
    asks_hydra: bool


def parse_command(words: Sequence[str], prog: str) -> Command:
    """Read the words of a command. Raises `DfaError` for a folder that is not there and a plugin that is missing."""
    words = expand_aliases(words)
    require_extras(words)
    flags = arguments_parser(prog).parse_intermixed_args(words)
    if flags.config_path is not None:
        raise DfaError(f"{prog} has its configuration; --config-dir FOLDER adds your own to it.")
    if flags.config_dir is not None and not Path(flags.config_dir).is_dir():
        raise DfaError(f"--config-dir {flags.config_dir} is not a folder.")
    return Command(
        prog=prog,
        words=words,
        overrides=flags.overrides,
        config_name=flags.config_name or "config",
        config_dir=flags.config_dir,
        multirun=flags.multirun or "hydra.mode=MULTIRUN" in flags.overrides,
        asks_help=flags.help,
        asks_hydra=bool(flags.hydra_help or flags.cfg or flags.info or flags.shell_completion),
    )
