"""`dfa train`: train one model."""

from __future__ import annotations

import typer

from dfa_cli.commands.options import Overrides


def train(overrides: Overrides = None) -> None:
    """Train one model, or with -m one for each combination: dfa train model=gcn device=opu_sim."""
    from dfa_cli.launch.train import launch

    raise typer.Exit(launch(overrides or [], "dfa train"))
