"""Decides in which panel of a figure each row of a comparison is drawn, and under which label and style."""

from __future__ import annotations

from typing import Any

from dfa_cli.comparison.comparison import Comparison
from dfa_cli.comparison.group import Group
from dfa_cli.comparison.grouping import shortest_names
from dfa_cli.console.values import format_value
from dfa_cli.plots.style import COLOURS, DASHES, HATCHES, MARKERS
from dfa_cli.records.fallback import data_of_row

MOST_SERIES = 8  # in one panel; more are divided among panels where a column allows it


def panels(result: Comparison, x_key: str | None = None) -> list[tuple[str, list[Group]]]:
    """Divides the rows among panels, and returns the heading and the rows of each.

    `x_key` is the column on the x axis, if there is one.
    """
    key = panel_key(result, x_key)
    if key is None:
        return [("", list(result.groups))]
    groups: dict[str, list[Group]] = {}
    for group in result.groups:
        groups.setdefault(format_value(group.key[key]), []).append(group)
    if key == "data":  # the heading names a stand-in as the tables do
        return [
            (f"data {data_of_row([run for group in members for run in group.shown])}", members)
            for members in groups.values()
        ]
    return [(f"{shortest_names(result.columns)[key]} {name}", members) for name, members in groups.items()]


def panel_key(result: Comparison, x_key: str | None) -> str | None:
    """Returns the column that has a panel for each of its values, or `None` for a single panel.

    It is the data set, or the first column if one panel would hold more than `MOST_SERIES` lines.
    """
    columns = [key for key in result.columns if key != x_key]
    if "data" in columns:
        return "data" if len(columns) > 1 else None
    series = len({tuple(format_value(group.key[key]) for key in columns) for group in result.groups})
    return columns[0] if series > MOST_SERIES and len(columns) > 1 else None


def series_label(result: Comparison, group: Group, x_key: str | None = None, panel: bool = True) -> str:
    """Names a row for the legend, without the values that the panel's heading, the axis or the caption show."""
    shown = {*result.columns} - {x_key, panel_key(result, x_key) if panel else None}
    return group.label(without=[key for key in group.key if key not in shown])


def series_style(result: Comparison, group: Group, x_key: str | None = None) -> dict[str, Any]:
    """Returns the colour, line, marker and hatching of a row; rows with the same label look the same in all panels."""
    labels = list(dict.fromkeys(series_label(result, other, x_key) for other in result.groups))
    i = labels.index(series_label(result, group, x_key))
    return {
        "index": i,
        "color": COLOURS[i % len(COLOURS)],
        "linestyle": DASHES[(i + i // len(COLOURS)) % len(DASHES)],
        "marker": MARKERS[i % len(MARKERS)],
        "hatch": HATCHES[i % len(HATCHES)],
    }
