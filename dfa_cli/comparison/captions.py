"""Writes the text above a comparison: the title, the data split, and what all rows share."""

from __future__ import annotations

from dfa_cli.comparison.comparison import Comparison
from dfa_cli.comparison.grouping import is_of_device, key_applies
from dfa_cli.console.values import enumeration, format_value


def title(result: Comparison) -> str:
    """Writes the title, such as `best validation accuracy, % (mean ± standard deviation over seeds)`."""
    several = any(group.n > 1 for group in result.groups)
    return f"{result.metric.title}" + (f" (mean ± standard deviation over {result.seeds})" if several else "")


def constants(result: Comparison) -> str:
    """Lists the values that all rows share: `data cora, model gcn, device cpu (not used by bp), epochs 200`.

    The data set is left out if a run used a stand-in, since the rows name it then.
    """
    return ", ".join(
        f"{key} {format_value(value)}{not_used(result, key)}"
        for key, value in result.constant.items()
        if key != "data" or not result.has_stand_ins
    )


def not_used(result: Comparison, key: str) -> str:
    """Names the rules that do not use the projection device, where `key` is one of the device: ` (not used by bp)`."""
    rules = {
        format_value(run.choices.get("rule"))
        for group in result.groups
        for run in group.shown
        if is_of_device(key) and not key_applies(run, key)
    }
    return f" (not used by {enumeration(sorted(rules))})" if rules else ""


def split_caption(result: Comparison) -> str:
    """Lists the data splits and their sizes.

    A single split is listed without the name of its data set, which all rows share.
    """
    if len(result.splits) == 1:
        return result.splits[0].partition(": ")[2]
    return "; ".join(result.splits)
