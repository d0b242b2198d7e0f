"""Train neural networks without backpropagation, with the error projected by (simulated) light.

    from dfa_cli import load, compare_table, OPU, DirectFeedbackAlignment

These names are the public interface for Python programs. Each is imported when it is first used, so
`import dfa_cli` alone imports neither torch nor hydra. The functions that read records never import either of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dfa_cli.version import __version__

if TYPE_CHECKING:
    from dfa_cli.comparison.comparison import summarise
    from dfa_cli.comparison.tables import compare_table
    from dfa_cli.devices import Digital
    from dfa_cli.devices.opu import OPU
    from dfa_cli.launch.evaluate import trained
    from dfa_cli.records.dataframe import load
    from dfa_cli.records.find import find, pick_run
    from dfa_cli.rules import (
        Backpropagation,
        BatchwiseRandomSign,
        DirectFeedbackAlignment,
        DirectRandomTargetProjection,
        FeedbackAlignment,
        FixedRandomSign,
        Shallow,
        UniformSign,
    )

__all__ = [
    "OPU",
    "Backpropagation",
    "BatchwiseRandomSign",
    "Digital",
    "DirectFeedbackAlignment",
    "DirectRandomTargetProjection",
    "FeedbackAlignment",
    "FixedRandomSign",
    "Shallow",
    "UniformSign",
    "__version__",
    "compare_table",
    "find",
    "load",
    "pick_run",
    "summarise",
    "trained",
]

# The module that defines each name. A name that is not listed here comes from `dfa_cli.rules`.
_HOME = {
    "compare_table": "comparison.tables",
    "find": "records.find",
    "load": "records.dataframe",
    "pick_run": "records.find",
    "summarise": "comparison.comparison",
    "trained": "launch.evaluate",
    "Digital": "devices",
    "OPU": "devices.opu",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME.get(name, 'rules')}"), name)


def __dir__() -> list[str]:
    return __all__
