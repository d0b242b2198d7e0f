"""`dfa resume`: continues a run that ended early."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dfa_cli.commands.options import ConfigDir, ForceOwner, Name, Places, TrustRecord


def resume(
    run: Name,
    folders: Places = None,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Begin again with epoch 1, in the run's own folder.")
    ] = False,
    stages: Annotated[
        int | None,
        typer.Option(
            "--stages",
            help="Divide a run with parallel=pipeline over so many processes.",
            min=1,
            metavar="NUMBER",
        ),
    ] = None,
    force: ForceOwner = False,
    config_dir: ConfigDir = None,
    trust: TrustRecord = False,
) -> None:
    """Continue a killed, interrupted or failed run from its checkpoint: dfa resume last."""
    from dfa_cli.launch.recorded import Trust
    from dfa_cli.launch.resume import resume

    trusted = Trust.of(config_dir, trust)
    resume(run, folders or [Path("outputs")], from_start, force, trusted, stages)
