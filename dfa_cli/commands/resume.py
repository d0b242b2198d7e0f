"""`dfa resume`: continues a run that ended early."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dfa_cli.commands.options import Folders, ForceOwner, Name


def resume(
    run: Name,
    folders: Folders = None,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Begin again with epoch 1, in the run's own folder.")
    ] = False,
    force: ForceOwner = False,
) -> None:
    """Continue a killed, interrupted or failed run from its checkpoint: dfa resume last."""
    from dfa_cli.launch.resume import resume

    resume(run, folders or [Path("outputs")], from_start, force)
