"""Writes the text of `dfa train --help`: every group with its options, every key with its value."""

from __future__ import annotations

from omegaconf import OmegaConf

from dfa_cli.config.command import Command
from dfa_cli.config.compose import Composer
from dfa_cli.config.overrides import expand_sweeps


def help_text(command: Command) -> str:
    """Return the help text of a command, with the values of the configuration that its overrides make."""
    with Composer(command) as composer:
        composed = composer.job(expand_sweeps(command.overrides)[0])
        groups = composer.group_options()
    texts = composed.hydra.help
    keys = OmegaConf.masked_copy(composed.config, [str(key) for key in composed.config if key != "hydra"])
    return "\n".join(
        [
            texts.header,
            "",
            "Groups and their options (group=option):",
            "",
            *(f"{group}: {', '.join(options)}" for group, options in groups.items()),
            "",
            "Keys and their values (key=value, nested.key=value):",
            "",
            OmegaConf.to_yaml(keys),
            texts.footer,
        ]
    )
