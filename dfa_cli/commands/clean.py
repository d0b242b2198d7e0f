"""`dfa clean`: delete failed, interrupted and killed runs."""

from __future__ import annotations

from typing import Annotated

import typer

from dfa_cli.commands.options import Folders, Since, Where
from dfa_cli.commands.selection import Selection
from dfa_cli.errors import DfaError


def clean(
    folders: Folders = None,
    status: Annotated[
        str | None, typer.Option("--status", help="Only these: failed, interrupted, killed.")
    ] = None,
    where: Where = None,
    since: Since = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete failed, interrupted and killed runs, after asking."""
    import sys

    from dfa_cli.console import output
    from dfa_cli.console.values import plural, quantity
    from dfa_cli.records.clean import folder_bytes, removable, remove
    from dfa_cli.views.listing import list_as_text

    _, chosen = Selection(folders, where, since, status).find(may_be_empty=True)
    doomed = removable(chosen)
    if not doomed:
        output.write_stdout("nothing to clean: no failed, interrupted or killed run\n")
        return
    output.write_stdout(list_as_text(doomed, output.terminal_width()))
    count = plural(len(doomed), "run")
    size = quantity(sum(folder_bytes(run) for run in doomed), "B")
    if not yes:
        if not sys.stdin.isatty():
            raise DfaError(f"nothing was deleted: to delete these {count} without being asked, give --yes")
        typer.confirm(f"delete {count} ({size})?", abort=True)
    stayed = remove(doomed)
    for run, reason in stayed:
        output.write_stderr(f"left {run.folder}: {reason}")
    output.write_stdout(f"deleted {len(doomed) - len(stayed)} of {count} ({size})\n")
    if stayed:
        raise typer.Exit(1)
