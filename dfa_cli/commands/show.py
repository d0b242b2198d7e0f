"""`dfa show`: shows one run on one screen, or everything about it."""

from __future__ import annotations

from typing import Annotated

import typer

from dfa_cli.commands.options import Name, Places
from dfa_cli.commands.selection import folders_or_outputs


def show(
    run: Name,
    folders: Places = None,
    all: Annotated[
        bool, typer.Option("--all", help="Show also the losses, the whole configuration and the provenance.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the record as JSON, for programs.")] = False,
) -> None:
    """Show one run: its options, result, curves and cost: dfa show last."""
    from dfa_cli.console import output
    from dfa_cli.records.find import pick_run
    from dfa_cli.views.run import run_as_json, run_as_text, run_in_full

    chosen = pick_run(run, folders_or_outputs(folders))
    if json:
        output.write_stdout(run_as_json(chosen))
    else:
        output.write_stdout((run_in_full if all else run_as_text)(chosen, output.terminal_width()))
