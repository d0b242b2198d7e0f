"""Writes the text above a comparison: the title, the data split, and what all rows share."""

from __future__ import annotations

from dfa_cli.comparison.comparison import Comparison
from dfa_cli.console.values import format_value


def title(result: Comparison) -> str:
    """Writes the title, such as `test at best validation, % (mean ± standard deviation over seeds)`."""
    several = any(group.n > 1 for group in result.groups)
    return f"{result.metric.title}" + (f" (mean ± standard deviation over {result.seeds})" if several else "")


def constants(result: Comparison) -> str:
    """Lists the values that all rows share: `data cora, model gcn, epochs 200`.

    The data set is left out if a run used a stand-in, since the rows name it then.
    """
    return ", ".join(
        f"{key} {format_value(value)}"
        for key, value in result.constant.items()
        if key != "data" or not result.has_stand_ins
    )


def split_caption(result: Comparison) -> str:
    """Lists the data splits and their sizes.

    A single split is listed without the name of its data set, which all rows share.
    """
    if len(result.splits) == 1:
        return result.splits[0].partition(": ")[2]
    return "; ".join(result.splits)
