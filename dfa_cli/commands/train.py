"""`dfa train`: trains one model."""

from __future__ import annotations

import typer

from dfa_cli.commands.options import Overrides


def train(overrides: Overrides = None) -> None:
    """Train one model, or with -m one for each combination: dfa train model=gcn device=opu_sim."""
    from dfa_cli.config.command import parse_command

    command = parse_command(overrides or [], "dfa train")
    if command.multirun:
        from dfa_cli.sweeps.sweep import sweep

        raise typer.Exit(sweep(command))
    from dfa_cli.launch.train import train

    raise typer.Exit(train(command))
