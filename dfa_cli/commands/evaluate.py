"""`dfa evaluate`: classifies with the saved weights of a run."""

from __future__ import annotations

from typing import Annotated

import typer

from dfa_cli.commands.options import ConfigDir, Name, Places, TrustRecord
from dfa_cli.commands.selection import folders_or_outputs


def evaluate(
    run: Name,
    folders: Places = None,
    json: Annotated[
        bool, typer.Option("--json", help="Write JSON, with the whole matrix of confusions.")
    ] = False,
    config_dir: ConfigDir = None,
    trust: TrustRecord = False,
) -> None:
    """Classify with the saved weights of a run, by class, and compare with its record: dfa evaluate last."""
    from dfa_cli.console import output
    from dfa_cli.console.values import json_text
    from dfa_cli.launch.evaluate import evaluate
    from dfa_cli.launch.recorded import Trust
    from dfa_cli.views.evaluation import evaluation_as_text

    found = evaluate(run, folders_or_outputs(folders), Trust.of(config_dir, trust))
    output.write_stdout(json_text(found) if json else evaluation_as_text(found, output.terminal_width()))
    raise typer.Exit(0 if found["matches"] else 1)
