"""`dfa show`: everything about one run."""

from __future__ import annotations

from typing import Annotated

import typer

from dfa_cli.commands.options import Folders, Name
from dfa_cli.commands.selection import _places


def show(
    run: Name,
    folders: Folders = None,
    json: Annotated[bool, typer.Option("--json", help="The record, for programs.")] = False,
) -> None:
    """Show everything about one run: dfa show last."""
    from dfa_cli.console import output
    from dfa_cli.records.find import pick_run
    from dfa_cli.views import run as shown

    chosen = pick_run(run, _places(folders))
    output.emit(shown.as_json(chosen) if json else shown.as_text(chosen, output.terminal_width()))
