"""`dfa runs`: lists runs, newest first."""

from __future__ import annotations

from typing import Annotated

import typer

from dfa_cli.commands.options import Folders, Since, Where
from dfa_cli.commands.selection import Selection
from dfa_cli.errors import DfaError, one_of


def runs(
    folders: Folders = None,
    status: Annotated[
        str | None,
        typer.Option("--status", help="Only these: completed, running, failed, interrupted or killed."),
    ] = None,
    where: Where = None,
    since: Since = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            min=0,
            help="Number of runs to list, 0 for all; default: 50 on a terminal, all in a pipe.",
        ),
    ] = None,
    format: Annotated[str, typer.Option("--format", help="table, csv or json.")] = "table",
    skipped: Annotated[
        bool, typer.Option("--skipped", help="Name all folders without a whole record, not only 5.")
    ] = False,
) -> None:
    """List runs, newest first: dfa runs --status failed --since 2d."""
    from dfa_cli.console import output
    from dfa_cli.views.listing import FORMATS, list_as_csv, list_as_json, list_as_text

    if format not in FORMATS:
        raise DfaError(f"--format: {one_of(format, FORMATS)}")
    _, chosen = Selection(folders, where, since, status).find(max_skipped=10**9 if skipped else 5)
    width = output.terminal_width()
    most = (50 if width else 0) if limit is None else limit
    listed = chosen[:most] if most else chosen
    if format == "csv":
        output.write_stdout(list_as_csv(listed))
    elif format == "json":
        output.write_stdout(list_as_json(listed))
    else:
        text = list_as_text(listed, width)
        if len(listed) < len(chosen):
            text += f"{len(listed)} of {len(chosen)} runs; --limit 0 lists all\n"
        output.write_stdout(text)
