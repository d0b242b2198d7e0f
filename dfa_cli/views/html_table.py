"""A table of the page: its headings, rows and cells, with what each cell is sorted by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dfa_cli.console.values import MISSING


@dataclass(frozen=True)
class Cell:
    """A cell of a table. `shown`: its text. `value`: what it is sorted by, if not its text. `look`: its CSS class."""

    shown: str
    value: Any = None
    look: str = ""

    @property
    def sorted_by(self) -> Any:
        """What the cell is sorted by, or `None` for its text. An absent value stays behind the others."""
        return "" if self.value is MISSING else self.value


@dataclass(frozen=True)
class Row:
    """A row of a table. `look`: its CSS class."""

    cells: Sequence[Cell]
    look: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the page.

    `name`: its id. `heads`: each heading, and whether its column is text. `search`: whether a box filters
    the rows.
    """

    name: str
    heads: Sequence[tuple[str, bool]]
    rows: Sequence[Row]
    search: bool = False
