"""Which panel of a figure a row of a comparison stands in, and how it looks and is called there."""

from __future__ import annotations

from typing import Any

from dfa_cli.comparison.comparison import Comparison
from dfa_cli.comparison.group import Group
from dfa_cli.comparison.grouping import shortest_names
from dfa_cli.console.values import format_value
from dfa_cli.plots.style import COLOURS, DASHES, HATCHES, MARKERS

MOST_SERIES = 8  # in one panel; more are spread over panels where a column allows it


def panels(result: Comparison, leave: str | None = None) -> list[tuple[str, list[Group]]]:
    """The headings of the panels, and the rows in each; `leave`: a column that the axis shows already."""
    key = panel_key(result, leave)
    if key is None:
        return [("", list(result.groups))]
    groups: dict[str, list[Group]] = {}
    for group in result.groups:
        groups.setdefault(format_value(group.key[key]), []).append(group)
    return [(f"{shortest_names(result.columns)[key]} {name}", some) for name, some in groups.items()]


def panel_key(result: Comparison, leave: str | None) -> str | None:
    """The column that gets a panel for each of its values: the data set, or the first where lines are too many."""
    columns = [key for key in result.columns if key != leave]
    if "data" in columns:
        return "data" if len(columns) > 1 else None
    series = len({tuple(format_value(group.key[key]) for key in columns) for group in result.groups})
    return columns[0] if series > MOST_SERIES and len(columns) > 1 else None


def series_label(result: Comparison, group: Group, leave: str | None = None, panel: bool = True) -> str:
    """The row in a legend, without what stands beside the figure anyway."""
    shown = {*result.columns} - {leave, panel_key(result, leave) if panel else None}
    return group.label(without=[key for key in group.key if key not in shown])


def series_style(result: Comparison, group: Group, leave: str | None = None) -> dict[str, Any]:
    """One look for one label, the same in all panels."""
    labels = list(dict.fromkeys(series_label(result, one, leave) for one in result.groups))
    i = labels.index(series_label(result, group, leave))
    return {
        "index": i,
        "color": COLOURS[i % len(COLOURS)],
        "linestyle": DASHES[(i + i // len(COLOURS)) % len(DASHES)],
        "marker": MARKERS[i % len(MARKERS)],
        "hatch": HATCHES[i % len(HATCHES)],
    }
