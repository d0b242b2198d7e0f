"""Projection devices compute `e B`, the random projection of the error; they know nothing of networks.

The classes are imported on first use, so that `dfa bench` can read `optics.py` without importing torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfa_cli.devices.base import Cost, ProjectionDevice
    from dfa_cli.devices.digital import Digital

__all__ = ["Cost", "Digital", "ProjectionDevice"]

_HOME = {"Cost": "base", "ProjectionDevice": "base", "Digital": "digital"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
