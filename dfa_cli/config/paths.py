"""Finds the folder of the shipped configuration. It is a file of its own so that completion need not import Hydra."""

from __future__ import annotations

from pathlib import Path

from dfa_cli.errors import DfaError

ONLY_PLANNED = ("hardware", "preset")  # folders of conf/ that `dfa plan` reads; a run chooses nothing in them
CHOSEN_BY_NAME = ("experiment", "launcher", "sweeper", *ONLY_PLANNED)  # groups without a default


def conf_dir() -> Path:
    """Return the folder conf/, which is inside the package in a wheel and beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise DfaError(f"The folder conf/ is neither in {package} nor beside it; install dfa again.")
