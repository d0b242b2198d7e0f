"""`dfa clean`: deletes failed, interrupted and killed runs."""

from __future__ import annotations

from typing import Annotated

import typer

from dfa_cli.commands.options import Folders, ForceOwner, Since, Where
from dfa_cli.commands.selection import Selection
from dfa_cli.errors import DfaError


def clean(
    folders: Folders = None,
    status: Annotated[
        str | None, typer.Option("--status", help="Delete only these: failed, interrupted or killed.")
    ] = None,
    where: Where = None,
    since: Since = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking.")] = False,
    force: ForceOwner = False,
) -> None:
    """Delete failed, interrupted and killed runs, after asking."""
    import sys

    from dfa_cli.console import output
    from dfa_cli.console.values import plural, quantity
    from dfa_cli.records.clean import folder_bytes, is_uncertain, removable, remove, remove_half_removed
    from dfa_cli.views.listing import list_as_text

    found, chosen = Selection(folders, where, since, status).find(may_be_empty=True)
    remove_half_removed(found.half_removed)
    deletable = removable(chosen, force)
    if not force and (uncertain := sum(map(is_uncertain, chosen))):
        output.write_stderr(
            f"left {plural(uncertain, 'run')} of another machine, which may be running; --force deletes such runs too"
        )
    if not deletable:
        asked = " that was asked for" if status or where or since else ""
        output.write_stdout(f"nothing to clean: no failed, interrupted or killed run{asked}\n")
        return
    output.write_stdout(list_as_text(deletable, output.terminal_width()))
    count = plural(len(deletable), "run")
    size = quantity(sum(folder_bytes(run) for run in deletable), "B")
    if not yes:
        if not sys.stdin.isatty():
            raise DfaError(f"nothing was deleted: to delete {count} without being asked, give --yes")
        typer.confirm(f"delete {count} ({size})?", abort=True)
    kept = remove(deletable, force)
    for run, reason in kept:
        output.write_stderr(f"left {run.folder}: {reason}")
    output.write_stdout(f"deleted {len(deletable) - len(kept)} of {count} ({size})\n")
    if kept:
        raise typer.Exit(1)
