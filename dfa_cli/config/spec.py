"""One run as it was asked for: what a job needs to know, and all that a record says of how it was asked for."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from dfa_cli.config.identity import identity


@dataclass(frozen=True)
class RunSpec:
    """`config`: the configuration, plain and resolved; `choices`: the option chosen of each group; `overrides`: the
    words that say what is run; `config_dir`: the folder of the user's own options and classes.

    `command` repeats the run. Without it, a record names the command that this process was started by.
    """

    config: dict[str, Any]
    choices: dict[str, str]
    overrides: list[str]
    config_dir: str | None = None
    command: str | None = None

    @cached_property
    def identity(self) -> str:
        """Equal for runs with equal results. Means something once `auto` is resolved (`config/auto.py`)."""
        return identity(self.config)

    def with_values(self, **values: Any) -> RunSpec:
        """The same run with other values at the top level of its configuration."""
        return replace(self, config={**self.config, **values})

    def repeated_by_train(self) -> RunSpec:
        """The same run, whose record names the `dfa train ...` that repeats it alone."""
        own = ["--config-dir", self.config_dir] if self.config_dir else []
        return replace(self, command=shlex.join(["dfa", "train", *own, *self.overrides]))
