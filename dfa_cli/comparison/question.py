"""What a comparison is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dfa_cli.records.measures import DEFAULT, Metric


@dataclass(frozen=True)
class Question:
    """What is compared, and in which rows; keys are as a user writes them.

    `by`: the keys that make the rows, all that differ when empty; `metric`: what is compared; `over`: what a row
    averages over; `only`: an expression that chooses among the rows; `sort`: a column, `-` reverses; `baseline`: an
    expression for the row that the others are tested against, by `test` (`t` or `wilcoxon`); `along`: a key that
    tells rows apart in any case.
    """

    by: Sequence[str] = ()
    metric: str | Metric = DEFAULT
    over: Sequence[str] = ("seed",)
    only: str | None = None
    sort: str | None = None
    baseline: str | None = None
    test: str = "t"
    along: str | None = None
