"""Calls `hydra.main` for what Hydra itself prints: `--cfg`, `--info`, `--hydra-help`.

No other file changes `sys.argv`.
"""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import replace

import hydra
from omegaconf import DictConfig

from dfa_cli.config.command import Command
from dfa_cli.config.compose import Composer
from dfa_cli.config.hydra_internals import own_loader
from dfa_cli.config.paths import conf_dir


def show_by_hydra(command: Command) -> None:
    """Let Hydra print what the command asks for. No run is started.

    The words are composed as those of a run first, so that a mistake is answered as there.
    """
    # `-m` asks for runs, and Hydra shows one configuration.
    flags = [word for word in command.words if word not in (*command.overrides, "-m", "--multirun")]
    overrides = [] if "--hydra-help" in flags else command.overrides
    with Composer(replace(command, prog="a configuration")) as composer:
        composer.run(overrides, checked=False)
    # Hydra prints by logging. If the reader of a pipe closes it early, logging must not report that as an error.
    logging.raiseExceptions = False
    previous_argv, previous_full_error = sys.argv, os.environ.get("HYDRA_FULL_ERROR")
    # Put the flags in front: Hydra refuses overrides on both sides of a flag, as in `a=1 --cfg job b=2`.
    sys.argv = [command.prog, *flags, *overrides]
    # Without this variable, Hydra would end the process after an error.
    os.environ["HYDRA_FULL_ERROR"] = previous_full_error or "1"
    try:
        with own_loader():
            hydra.main(config_path=str(conf_dir()), config_name=command.config_name, version_base="1.3")(
                _no_job
            )()
    finally:
        sys.argv = previous_argv
        if previous_full_error is None:
            del os.environ["HYDRA_FULL_ERROR"]


def _no_job(config: DictConfig) -> None:
    raise AssertionError("Hydra was asked to show something, and started a job")
