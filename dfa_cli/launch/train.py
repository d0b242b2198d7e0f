"""`dfa train`: trains one model."""

from __future__ import annotations

import sys
from pathlib import Path

from omegaconf import open_dict

from dfa_cli.config.command import Command
from dfa_cli.config.compose import Composed, Composer
from dfa_cli.config.hydra_entry import show_by_hydra
from dfa_cli.config.hydra_internals import run_job
from dfa_cli.config.schema import projects
from dfa_cli.console.messages import log
from dfa_cli.errors import DfaError
from dfa_cli.launch.exit_codes import COMPLETED
from dfa_cli.launch.fallback import StandIn, find_stand_in
from dfa_cli.launch.folder import new_run_folder
from dfa_cli.launch.help import help_text
from dfa_cli.launch.interruption import interruption_reported
from dfa_cli.launch.task import is_stage, run_spec, run_stage


def train(command: Command) -> int:
    """Train the one model that the command describes. Returns the exit code of a completed run.

    Raises `DfaError` for a mistake of the user, and `KeyboardInterrupt` after a signal. Any other exception of a run is
    a bug and is raised unchanged.
    """
    if command.asks_help:
        print(help_text(command))
        return COMPLETED
    if command.asks_hydra:
        show_by_hydra(command)
        return COMPLETED
    if command.dry_run:
        raise DfaError(
            "dfa train takes no --dry-run: --cfg job shows the configuration that would run, and dfa sweep --dry-run "
            "tells what a sweep would do."
        )
    with Composer(command) as composer:
        composed = composer.run(command.overrides)
        if is_stage(composed.spec.config):
            run_stage(composed.spec)
            return COMPLETED
        if stand_in := find_stand_in(composed.spec):
            composed = composer.run([*command.overrides, *stand_in.overrides])
            print(f"note: {stand_in.sentence}", file=sys.stderr, flush=True)
        _point_to_sweep(composed)
        _tell_unused_device(composed)
        with (
            new_run_folder(composed.run_folder()) as folder,
            interruption_reported(folder, composed.spec.config_dir),
        ):
            with open_dict(composed.config.hydra):
                composed.config.hydra.run.dir = str(folder)
            run_job(composed.config, lambda _: _run(composed, folder, stand_in))
    return COMPLETED


def _run(composed: Composed, folder: Path, stand_in: StandIn | None) -> None:
    if stand_in is not None:
        log.warning(stand_in.reason)
    run_spec(composed.spec.repeated_by_train(), folder)


def _point_to_sweep(composed: Composed) -> None:
    """Tell a user who trains one run of an experiment how to train all of its runs."""
    if composed.grids or composed.sweeper.get("params"):
        study = f"experiment={composed.spec.choices.get('experiment')}"
        print(f"note: this is one run; dfa sweep {study} makes all runs of the experiment.", file=sys.stderr)


def _tell_unused_device(composed: Composed) -> None:
    """Tell a user who describes a device that the rule projects nothing.

    A digital device is not only what projects: it may also say where the training is computed.
    """
    typed = [word for word in composed.spec.overrides if word.startswith(("device=", "device/", "device."))]
    config = composed.spec.config
    if typed and not projects(config) and "where" not in config["device"]:
        rule = composed.spec.choices.get("rule")
        print(f"note: rule={rule} projects nothing, so it does not use {' '.join(typed)}.", file=sys.stderr)
