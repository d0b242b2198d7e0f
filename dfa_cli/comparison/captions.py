"""What is said above and below a comparison."""

from __future__ import annotations

from dfa_cli.comparison.comparison import Comparison
from dfa_cli.console.values import format_value


def title(result: Comparison) -> str:
    """`test at best validation, %: mean and standard deviation over seeds`"""
    several = any(group.n > 1 for group in result.groups)
    return f"{result.metric.title}" + (f" (mean ± standard deviation over {result.seeds})" if several else "")


def constants(result: Comparison) -> str:
    """`data cora, model gcn, epochs 200`: what all rows share."""
    return ", ".join(f"{key} {format_value(held)}" for key, held in result.constant.items())


def spoken_split(result: Comparison) -> str:
    """The splits and their sizes; the name of the data set is left out where it stands beside it anyway."""
    if len(result.splits) == 1:
        return result.splits[0].partition(": ")[2]
    return "; ".join(result.splits)
