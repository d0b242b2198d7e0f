"""Which optional package a launcher or a sweeper needs."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from dfa_cli.errors import DfaError

# the plugin and the extra that the preset of this name needs
EXTRAS = {
    "joblib": ("hydra_joblib_launcher", "joblib"),
    "submitit_local": ("hydra_submitit_launcher", "slurm"),
    "submitit_slurm": ("hydra_submitit_launcher", "slurm"),
    "ray": ("hydra_ray_launcher", "ray"),
    "optuna": ("hydra_optuna_sweeper", "optuna"),
}


def require_extras(arguments: Sequence[str]) -> None:
    """Raises `DfaError` when a launcher or a sweeper is named whose plugin is not installed."""
    for word in arguments:
        group, _, name = word.partition("=")
        if group.rpartition("/")[2] in ("launcher", "sweeper") and name in EXTRAS:
            plugin, extra = EXTRAS[name]
            try:
                found = importlib.util.find_spec(f"hydra_plugins.{plugin}")
            except ModuleNotFoundError:
                found = None
            if found is None:
                raise DfaError(
                    f"{word} needs {plugin.replace('_', '-')}, which is not installed: pip install 'dfa-cli[{extra}]'."
                )
