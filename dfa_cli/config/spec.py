"""Describes one run before it starts: its configuration, and the words that asked for it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from dfa_cli.config.identity import identity
from dfa_cli.config.own_code import NO_CODE, OwnCode


@dataclass(frozen=True)
class RunSpec:
    """All that is needed to start a run, in this process or another.

    `config`: the configuration as plain dictionaries, without interpolations.
    `choices`: the option chosen of each group.
    `overrides`: the words that describe what is run.
    `config_dir`: the folder of the user's own options and classes, if any.
    `code`: the code of the user's own that the run imports (`config/own_code.py`).
    `command`: the command that repeats the run. If `None`, the record names the command that started this process.
    """

    config: dict[str, Any]
    choices: dict[str, str]
    overrides: list[str]
    config_dir: str | None = None
    code: OwnCode = NO_CODE
    command: str | None = None

    @cached_property
    def identity(self) -> str:
        """The identity of the configuration, in which every `auto` must be resolved (`config/auto.py`)."""
        return identity(self.config, self.code.checksums)

    def with_values(self, **values: Any) -> RunSpec:
        """Return the same run with other values at the top level of its configuration."""
        return replace(self, config={**self.config, **values})

    def repeated_by_train(self) -> RunSpec:
        """Return the same run with the `dfa train ...` command that repeats it without its sweep."""
        flags = ["--config-dir", self.config_dir] if self.config_dir else []
        return replace(self, command=shlex.join(["dfa", "train", *flags, *self.overrides]))
