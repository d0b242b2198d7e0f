"""The options of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dfa_cli.records.measures import DEFAULT, Metric


@dataclass(frozen=True)
class Question:
    """The options of a comparison: what is compared, and in which rows. Keys are written as a user types them.

    `by`: the keys that tell the rows apart; if empty, all keys in which the runs differ. `metric`: what is
    compared. `over`: the keys that a row averages over. `only`: an expression that selects the rows to show. `sort`:
    the column to sort by; a `-` before it reverses the order. `baseline`: an expression for the row that the others are
    tested against. `test`: the paired test, `t` or `wilcoxon`. `equivalent`: how far from the baseline a row may be and
    count as equal, in the unit of tables, such as points of accuracy. `along`: a key that distinguishes rows even if it
    is not in `by`.
    """

    by: Sequence[str] = ()
    metric: str | Metric = DEFAULT
    over: Sequence[str] = ("seed",)
    only: str | None = None
    sort: str | None = None
    baseline: str | None = None
    test: str = "t"
    equivalent: float | None = None
    along: str | None = None
