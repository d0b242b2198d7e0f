"""Checks that the plugin of a launcher or a sweeper is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from dfa_cli.errors import DfaError

# option of launcher= or sweeper= -> the plugin that it needs, and the extra of this package that installs the plugin
EXTRAS = {
    "joblib": ("hydra_joblib_launcher", "joblib"),
    "submitit_local": ("hydra_submitit_launcher", "slurm"),
    "submitit_slurm": ("hydra_submitit_launcher", "slurm"),
    "ray": ("hydra_ray_launcher", "ray"),
    "optuna": ("hydra_optuna_sweeper", "optuna"),
}


def require_extras(arguments: Sequence[str]) -> None:
    """Raise `DfaError` when the arguments name a launcher or a sweeper whose plugin is not installed."""
    for word in arguments:
        group, _, name = word.partition("=")
        if group.rpartition("/")[2] in ("launcher", "sweeper") and name in EXTRAS:
            plugin, extra = EXTRAS[name]
            try:
                found = importlib.util.find_spec(f"hydra_plugins.{plugin}")
            except ModuleNotFoundError:  # the package hydra_plugins is missing, so there is no plugin at all
                found = None
            if found is None:
                raise DfaError(
                    f"{word} needs {plugin.replace('_', '-')}, which is not installed; install the extra {extra} "
                    f"of dfa, in a checkout with pip install -e '.[{extra}]'."
                )
