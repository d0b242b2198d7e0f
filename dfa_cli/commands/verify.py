"""`dfa verify`: checks that runs are what dfa has written."""

from __future__ import annotations

from typing import Annotated

import typer

from dfa_cli.commands.options import Folders
from dfa_cli.commands.selection import folders_of_runs

MOST = 15  # damaged runs that are named, so that they fit on one screen


def verify(
    folders: Folders = None,
    all: Annotated[bool, typer.Option("--all", help=f"Name all damaged runs, not only {MOST}.")] = False,
) -> None:
    """Check records, metrics, weights and checkpoints for damage. The exit code is 1 if there is any."""
    from dfa_cli.console import output
    from dfa_cli.console.values import plural, printable
    from dfa_cli.records.integrity import verify

    found = verify(folders_of_runs(folders))
    shown = found.damaged if all else found.damaged[:MOST]
    for folder, reasons in shown:
        output.write_stdout(f"damaged {printable(folder)}: {'; '.join(reasons)}\n")
    if more := len(found.damaged) - len(shown):
        output.write_stdout(f"damaged {plural(more, 'more folder')} (--all names them)\n")
    remarks = []
    if found.without_checksum:
        remarks.append(
            f"{found.without_checksum} made by a version of dfa that wrote no checksums, taken as they are"
        )
    if found.running:
        remarks.append(f"{found.running} still running, of which only the record was checked")
    summary = f"{plural(found.checked, 'run')} checked, {len(found.damaged) or 'none'} damaged"
    output.write_stdout("; ".join([summary, *remarks]) + "\n")
    if found.damaged:
        raise typer.Exit(1)
