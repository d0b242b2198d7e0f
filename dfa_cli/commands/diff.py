"""`dfa diff`: shows what differs between two runs."""

from __future__ import annotations

from dfa_cli.commands.options import Name, Places
from dfa_cli.commands.selection import folders_or_outputs


def diff(one: Name, other: Name, folders: Places = None) -> None:
    """Show what differs between two runs: dfa diff 3f2a 9c01."""
    from dfa_cli.console import output
    from dfa_cli.records.find import pick_run
    from dfa_cli.views.diff import diff_as_text

    places = folders_or_outputs(folders)
    output.write_stdout(diff_as_text(pick_run(one, places), pick_run(other, places), output.terminal_width()))
