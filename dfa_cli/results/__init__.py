"""Keeps the earlier name of the functions that read records. They are now found in `dfa_cli` itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfa_cli import compare_table, find, load, pick_run, summarise

__all__ = ["compare_table", "find", "load", "pick_run", "summarise"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import dfa_cli

    return getattr(dfa_cli, name)
