"""Writes the help of `dfa train` and `dfa sweep`: every group with its options, every key with its value."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf

from dfa_cli.config.command import Command
from dfa_cli.config.compose import Composer
from dfa_cli.config.overrides import NOT_KEYS, expand_sweeps
from dfa_cli.console.values import format_value

HEADERS = {
    "dfa train": """dfa train [group=option ...] [key=value ...]

Trains one model and records the run.
  dfa train model=gcn device=opu_sim""",
    "dfa sweep": """dfa sweep [group=option,option ...] [key=value,value ...]

Trains one model for each combination of the listed values. A combination that
has a completed run is not trained again, so the same command continues after
an interruption. The table of all runs comes at the end. --dry-run tells which
jobs would be run or reused, and why, how long they take and how much they
leave on disk. Then nothing is run.
  dfa sweep model=gcn rule=bp,dfa,shallow seed='range(10)'
  dfa sweep experiment=quickstart""",
}
FOOTER = """docs/configuration.md explains every option and key.

--cfg job             shows the configuration that would run
--info defaults-tree  shows which files it comes from
--config-dir FOLDER   adds options of your own
--hydra-help          lists the options of Hydra"""
WIDTH = 80
NOT_TYPED = ("hydra", "grids", "data_fallback", "run_id")  # keys that nobody sets on a command line


def help_text(command: Command) -> str:
    """Return the help text of a command, with the values of the configuration that its overrides make."""
    with Composer(command) as composer:
        overrides = expand_sweeps(command.overrides)[0]
        composed = composer.job(overrides, checked=False)
        groups = composer.group_options()
        others = [
            words
            for group, options in groups.items()
            if OmegaConf.select(composed.config, group.replace("/", ".")) == {}
            for option in options
            if (words := _keys_of(composer, overrides, group, option))
        ]
    choices = composed.spec.choices
    chosen = " ".join(f"{group}={choices.get(group)}" for group in ("model", "data", "rule", "device"))
    shown = OmegaConf.masked_copy(
        composed.config, [str(key) for key in composed.config if key not in NOT_TYPED]
    )
    for node in shown.values():
        for name in NOT_KEYS[1:] if isinstance(node, DictConfig) else ():
            node.pop(name, None)
    return "\n".join(
        [
            HEADERS[command.prog],
            "",
            "Groups and their options (group=option):",
            "",
            *(_wrapped(f"{group}: {', '.join(options)}") for group, options in groups.items()),
            "",
            _wrapped(f"Keys and their values (key=value, nested.key=value), as they are for {chosen}.", ""),
            f"Other options have other values: {command.prog} model=gcn --help",
            "",
            OmegaConf.to_yaml(shown),
            *(["Keys that come with another option:", "", *map(_wrapped, others), ""] if others else []),
            FOOTER,
        ]
    )


def _wrapped(text: str, indent: str = "  ") -> str:
    return textwrap.fill(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _keys_of(composer: Composer, overrides: Sequence[str], group: str, option: str) -> str | None:
    """List the keys of an option of a group, as in `parallel=data: parallel.replicas=2`. `None`: it has none."""
    word, place = f"{group}={option}", group.replace("/", ".")
    others = [one for one in overrides if not one.startswith(f"{group}=")]
    node = OmegaConf.select(composer.job([*others, word], checked=False).config, place)
    keys = [f"{place}.{key}={format_value(value)}" for key, value in node.items() if key != "_target_"]
    return f"{word}: {', '.join(keys)}" if keys else None
