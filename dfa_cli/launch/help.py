"""`dfa train --help`: every group with its options, every key with its value."""

from __future__ import annotations

from omegaconf import OmegaConf

from dfa_cli.config.command import Command
from dfa_cli.config.compose import Composer
from dfa_cli.config.overrides import expand


def help_text(command: Command) -> str:
    """The help of a command, for the configuration that its overrides make."""
    with Composer(command) as composer:
        composed = composer.job(expand(command.overrides)[0])
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
