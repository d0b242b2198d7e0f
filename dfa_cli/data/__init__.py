"""Data sets, and how their raw files are found, checked and read.

`base` says what a data set is. `catalogue`, `source`, `network` and `checksums` find its files and check them.
`loading` loads the data set of a configuration. Each other module holds one kind of data.
The classes are imported on first use, so that `dfa data list` imports neither torch nor numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfa_cli.data.base import Data, Dataset
    from dfa_cli.data.digits import Digits, DigitsGraph
    from dfa_cli.data.mnist import MNIST
    from dfa_cli.data.planetoid import Planetoid
    from dfa_cli.data.source import Source

__all__ = ["MNIST", "Data", "Dataset", "Digits", "DigitsGraph", "Planetoid", "Source"]

_HOME = {
    "Data": "base",
    "Dataset": "base",
    "Digits": "digits",
    "DigitsGraph": "digits",
    "MNIST": "mnist",
    "Planetoid": "planetoid",
    "Source": "source",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
