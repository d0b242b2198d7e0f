"""`dfa export`: writes runs in the formats of other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dfa_cli.commands.options import Folders, Force, Since, Where
from dfa_cli.commands.selection import Selection


def export(
    folders: Folders = None,
    to: Annotated[str, typer.Option("--to", help="csv, mlflow or tensorboard.")] = "csv",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="File or folder to write; default: dfa-runs.csv, mlruns or tensorboard."),
    ] = None,
    curves: Annotated[
        bool, typer.Option("--curves", help="With csv: one line for each epoch, not for each run.")
    ] = False,
    where: Where = None,
    since: Since = None,
    status: Annotated[str | None, typer.Option("--status", help="Only runs with this status.")] = None,
    force: Force = False,
) -> None:
    """Export runs to other tools: dfa export --to mlflow."""
    from dfa_cli.console import output
    from dfa_cli.console.values import plural
    from dfa_cli.records.export import export_runs, export_target

    target = export_target(to, out, force, curves)
    _, chosen = Selection(folders, where, since, status).find()
    count = export_runs(chosen, to, target, force, curves)
    output.write_stderr(f"wrote {plural(count, 'run')} to {target}")
