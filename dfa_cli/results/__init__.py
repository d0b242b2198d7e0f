"""Records of runs on disk, read back: found, compared, drawn, reported. Imports neither torch nor hydra.

    from dfa_cli.results import load, summarise, compare_table

Each name is imported when it is first used, because the command line imports this package at every start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfa_cli.results.compare import summarise
    from dfa_cli.results.frame import load
    from dfa_cli.results.pick import pick_run
    from dfa_cli.results.render import compare_table
    from dfa_cli.results.store import find

__all__ = ["compare_table", "find", "load", "pick_run", "summarise"]

_HOMES = {
    "compare_table": "render",
    "find": "store",
    "load": "frame",
    "pick_run": "pick",
    "summarise": "compare",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
