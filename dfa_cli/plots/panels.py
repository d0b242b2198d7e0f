"""Decides in which panel of a figure each row of a comparison is drawn, and under which label and number."""

from __future__ import annotations

from collections.abc import Iterable

from dfa_cli.comparison.comparison import Comparison
from dfa_cli.comparison.group import Group
from dfa_cli.comparison.grouping import shortest_names
from dfa_cli.console.table import truncate
from dfa_cli.console.values import format_value
from dfa_cli.errors import DfaError
from dfa_cli.plots.style import LONGEST
from dfa_cli.records.fallback import data_of_row
from dfa_cli.records.query import Query

MOST_SERIES = 8  # in one panel; more are divided among panels where a column allows it


class Arrangement:
    """The panels and the labels of a figure.

    `x_key` is the column on the x axis, if there is one. Rows that fulfil the expression `reference` are drawn as a
    line across. Raises `DfaError` if no row fulfils it, or if all do.
    """

    def __init__(self, result: Comparison, x_key: str | None = None, reference: str | None = None):
        self.result = result
        self.x_key = x_key
        self.reference = reference
        self.panel_key = _panel_key(result, x_key)
        self._labels = {id(group): self.label(group) for group in result.groups}
        self.labels = list(dict.fromkeys(self._labels.values()))
        self._numbers = {label: i for i, label in enumerate(self.labels)}
        self._references = _references(result, reference) if reference else set()

    def label(self, group: Group, panel: bool = True) -> str:
        """Names a row for the legend, without the values that the panel's heading, the axis or the caption show."""
        shown = {*self.result.columns} - {self.x_key, self.panel_key if panel else None}
        return group.label(without=[key for key in group.key if key not in shown])

    def number(self, group: Group) -> int:
        """Returns the number of the row's style; rows with the same label look the same in all panels."""
        return self._numbers[self._labels[id(group)]]

    def is_reference(self, group: Group) -> bool:
        return id(group) in self._references

    def references(self, groups: Iterable[Group]) -> list[Group]:
        """Returns the rows of `groups` that are drawn as a line across and have a value."""
        return [group for group in groups if self.is_reference(group) and group.mean is not None]

    def panels(self) -> list[tuple[str, list[Group]]]:
        """Divides the rows among panels, and returns the heading and the rows of each."""
        key = self.panel_key
        if key is None:
            return [("", list(self.result.groups))]
        groups: dict[str, list[Group]] = {}
        for group in self.result.groups:
            groups.setdefault(format_value(group.key[key]), []).append(group)
        if key == "data":  # the heading names a stand-in as the tables do
            names = [data_of_row([run for row in rows for run in row.shown]) for rows in groups.values()]
        else:
            names = list(groups)
        name = shortest_names(self.result.columns)[key]
        headings = [truncate(f"{name} {value}", LONGEST) for value in names]
        return list(zip(headings, groups.values(), strict=True))


def _panel_key(result: Comparison, x_key: str | None) -> str | None:
    """Returns the column that has a panel for each of its values, or `None` for a single panel.

    It is the data set, or the first column if one panel would hold more than `MOST_SERIES` lines.
    """
    columns = [key for key in result.columns if key != x_key]
    if "data" in columns:
        return "data" if len(columns) > 1 else None
    series = len({tuple(format_value(group.key[key]) for key in columns) for group in result.groups})
    return columns[0] if series > MOST_SERIES and len(columns) > 1 else None


def _references(result: Comparison, reference: str) -> set[int]:
    query = Query(reference, result.keys, "--reference")
    found = {id(group) for group in result.groups if all(query(run) for run in group.runs)}
    if not found:
        rows = "; ".join(group.label() for group in result.groups[:6])
        more = "; ..." if len(result.groups) > 6 else ""
        raise DfaError(f'no row fulfils --reference "{reference}"; rows are {rows}{more}')
    if len(found) == len(result.groups):
        raise DfaError(
            f'--reference "{reference}" is true for every row, and nothing is left to draw; name fewer rows'
        )
    return found
