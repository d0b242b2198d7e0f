"""Describes a run, and the code that made it, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dfa_cli.config.schema import projects
from dfa_cli.console.values import MISSING, NOTHING, format_value


def run_in_words(config: Mapping[str, Any], choices: Mapping[str, Any]) -> str:
    """Describes a run: `gcn on cora, trained by dfa on opu_sim, seed 3`.

    The device is named only where the training rule projects something.
    """
    model, data, rule, device = (
        format_value(choices.get(name) or NOTHING) for name in ("model", "data", "rule", "device")
    )
    words = f"{model} on {data}, trained by {rule}"
    if isinstance(config.get("rule"), dict) and projects(config):
        resolved = config.get("device") if device == "auto" else None
        words += f" on {resolved.get('where', device) if isinstance(resolved, dict) else device}"
    return f"{words}, seed {format_value(config.get('seed', MISSING))}"


def commit_in_words(git: Mapping[str, Any] | None, digits: int | None = None) -> str | None:
    """Describes a commit: `0123abcd with changes`, in full or by its first `digits`; `None` if it is unknown."""
    if not git or not git.get("commit"):
        return None
    return f"{format_value(git['commit'])[:digits]}{' with changes' if git.get('dirty') else ''}"
