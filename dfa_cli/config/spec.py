"""One run as it was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


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
