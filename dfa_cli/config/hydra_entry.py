"""Hands arguments to `hydra.main`; the only file that touches `sys.argv`."""

from __future__ import annotations

import argparse
import hashlib
import os
import secrets
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from dfa_cli.config.paths import conf_dir


def run_id() -> str:
    """8 hexadecimal digits: of a job of `train -m` the same wherever it is asked for, else drawn anew."""
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        context = HydraConfig.get()
        number = "" if OmegaConf.is_missing(context.job, "num") else context.job.num
        place = f"{context.sweep.dir}/{context.job.name}/{number}"
        return hashlib.sha256(place.encode()).hexdigest()[:8]
    return secrets.token_hex(4)


def only_shows(flags: argparse.Namespace) -> bool:
    """Whether the arguments ask Hydra to show something, and nothing is to be run."""
    return bool(flags.help or flags.hydra_help or flags.cfg or flags.info or flags.shell_completion)


def config_dir(context: Any) -> str | None:
    """The folder that `--config-dir` named, from Hydra's own node: it reaches the workers of any launcher."""
    return next((one.path for one in context.runtime.config_sources if one.provider == "command-line"), None)


def train_command(overrides: Sequence[str], own: str | None) -> str:
    """What repeats a run; `own`: the folder of `--config-dir`."""
    return shlex.join(["dfa", "train", *(["--config-dir", own] if own else []), *overrides])


def flags_of(arguments: Sequence[str], prog: str) -> argparse.Namespace:
    parser = get_args_parser()
    parser.prog = prog
    return parser.parse_intermixed_args(list(arguments))


def hydra_main(arguments: Sequence[str], prog: str, task: Callable[[DictConfig], Any]) -> None:
    """`hydra.main` on these arguments. What is not Hydra's to explain comes out as it was raised."""
    before, full = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    # Hydra takes its options on one side of the overrides only: `a=1 -m b=1,2` is refused
    overrides = flags_of(arguments, prog).overrides
    sys.argv = [prog, *(word for word in arguments if word not in overrides), *overrides]
    os.environ["HYDRA_FULL_ERROR"] = full or "1"
    try:
        hydra.main(config_path=str(conf_dir()), config_name="config", version_base="1.3")(task)()
    finally:
        sys.argv = before
        if full is None:
            del os.environ["HYDRA_FULL_ERROR"]
