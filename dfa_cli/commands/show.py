"""`dfa show`: shows everything about one run."""

from __future__ import annotations

from typing import Annotated

import typer

from dfa_cli.commands.options import Folders, Name
from dfa_cli.commands.selection import folders_or_outputs


def show(
    run: Name,
    folders: Folders = None,
    json: Annotated[bool, typer.Option("--json", help="Print the record as JSON, for programs.")] = False,
) -> None:
    """Show everything about one run: dfa show last."""
    from dfa_cli.console import output
    from dfa_cli.records.find import pick_run
    from dfa_cli.views.run import run_as_json, run_as_text

    chosen = pick_run(run, folders_or_outputs(folders))
    output.write_stdout(run_as_json(chosen) if json else run_as_text(chosen, output.terminal_width()))
