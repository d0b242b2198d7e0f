"""Declares the top-level keys of the configuration and their types.

Hydra uses them to refuse an unknown key and a top-level value of the wrong type. `checks.check` checks the rest.
A YAML file of `conf/` may also state facts about its class, such as `needs: graph`. They are read by our checks and
never passed to the class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FACTS = ("needs", "gives", "stand_in", "no_reference_for")


@dataclass
class Config:
    """The top-level keys and their types. The defaults that count are those of conf/config.yaml."""

    seed: int = 0
    epochs: int = 100
    batch_size: int | None = None
    patience: int | None = None
    alignment_every: int | None = None
    schedule: str = "constant"
    weight_decay_on: str = "all"
    compute: str = "auto"
    precision: str = "fp32"
    activations: str = "keep"
    graph: str = "off"
    weights: str = "last"
    threads: int | None = None
    outputs: str = "outputs"
    data_dir: str | None = None
    mirrors: list[str] = field(default_factory=list)
    progress: str = "auto"
    checkpoint_every: int | None = None
    reuse: Any = True
    fail_fast: bool = False
    run_id: str = ""
    data_fallback: str | None = None
    grids: list[dict[str, Any]] | None = None
    model: Any = None
    rule: Any = None
    device: Any = None
    data: Any = None
    optimizer: Any = None
    parallel: Any = None


def without_facts(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return a group's keys without the facts, as its class takes them."""
    return {key: value for key, value in node.items() if key not in FACTS}


def projects(config: Mapping[str, Any]) -> bool:
    """Whether the rule uses the projection device. If it does not, no key of the device can change the result."""
    return config["rule"].get("needs") != "nothing"
