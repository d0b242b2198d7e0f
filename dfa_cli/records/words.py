"""A run, and the code it was made with, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dfa_cli.config.schema import projects
from dfa_cli.console.values import MISSING, NOTHING, format_value


def run_in_words(config: Mapping[str, Any], choices: Mapping[str, Any]) -> str:
    """`gcn on cora, trained by dfa on opu_sim, seed 3`; a device is named where the rule projects something."""
    model, data, rule, device = (
        format_value(choices.get(name) or NOTHING) for name in ("model", "data", "rule", "device")
    )
    words = f"{model} on {data}, trained by {rule}"
    if isinstance(config.get("rule"), dict) and projects(config):
        settled = config.get("device") if device == "auto" else None
        words += f" on {settled.get('where', device) if isinstance(settled, dict) else device}"
    return f"{words}, seed {format_value(config.get('seed', MISSING))}"


def commit_in_words(git: Mapping[str, Any] | None, digits: int | None = None) -> str | None:
    """`0123abcd with changes`, the commit in full or its first `digits`; `None` where it is not known."""
    if not git or not git.get("commit"):
        return None
    return f"{format_value(git['commit'])[:digits]}{' with changes' if git.get('dirty') else ''}"
