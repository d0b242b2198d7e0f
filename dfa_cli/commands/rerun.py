"""`dfa rerun`: repeats a run from its record alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dfa_cli.commands.options import ConfigDir, Name, Places, TrustRecord


def rerun(
    run: Name,
    folders: Places = None,
    outputs: Annotated[Path, typer.Option("--outputs", help="Where the repetition is recorded.")] = Path(
        "outputs"
    ),
    config_dir: ConfigDir = None,
    trust: TrustRecord = False,
) -> None:
    """Repeat a run from its record alone, and say whether the metrics match: dfa rerun last."""
    from dfa_cli.launch.recorded import Trust
    from dfa_cli.launch.rerun import rerun

    lines, matches = rerun(run, folders or [Path("outputs")], outputs, Trust.of(config_dir, trust))
    typer.echo("\n".join(["", *lines]))
    raise typer.Exit(0 if matches else 1)
