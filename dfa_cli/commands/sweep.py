"""`dfa sweep`: trains every combination that has no completed run yet."""

from __future__ import annotations

import typer

from dfa_cli.commands.options import Overrides


def sweep(overrides: Overrides = None) -> None:
    """Train every combination that has no completed run yet: dfa sweep model=gcn rule=bp,dfa seed='range(5)'."""
    from dfa_cli.config.command import parse_command
    from dfa_cli.sweeps.sweep import sweep

    raise typer.Exit(sweep(parse_command(overrides or [], "dfa sweep")))
