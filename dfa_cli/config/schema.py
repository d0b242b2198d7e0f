"""Names, types and bounds of the configuration, checked before anything heavy is imported.

Hydra refuses a key that no group has and a top-level value of the wrong type; `check` looks at the rest. `needs`
and `gives` are facts that a YAML of `conf/` states for us to read; they never reach the class it names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FACTS = ("needs", "gives", "stand_in")


@dataclass
class Config:
    """The top-level keys; the values stand in conf/config.yaml."""

    seed: int = 0
    epochs: int = 100
    batch_size: int | None = None
    patience: int | None = None
    alignment_every: int | None = None
    schedule: str = "constant"
    weight_decay_on: str = "all"
    compute: str = "auto"
    precision: str = "fp32"
    threads: int | None = None
    outputs: str = "outputs"
    data_dir: str | None = None
    mirrors: list[str] = field(default_factory=list)
    progress: str = "auto"
    checkpoint_every: int | None = None
    reuse: bool = True
    fail_fast: bool = False
    run_id: str = ""
    data_fallback: str | None = None
    grids: list[dict[str, Any]] | None = None
    model: Any = None
    rule: Any = None
    device: Any = None
    data: Any = None
    optimizer: Any = None


def without_facts(node: Mapping[str, Any]) -> dict[str, Any]:
    """A group's keys as its class takes them."""
    return {key: value for key, value in node.items() if key not in FACTS}


def projects(config: Mapping[str, Any]) -> bool:
    """Whether the rule asks the projection device for anything; without it no key of the device applies."""
    return config["rule"].get("needs") != "nothing"
