"""Mean, spread, confidence interval, and the paired tests; SciPy is imported for the tests only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

ENOUGH = {"t": 5, "wilcoxon": 6}  # pairs; six is the least at which Wilcoxon's p can fall below 0.05
TEST_NAMES = {"t": "paired t-test", "wilcoxon": "Wilcoxon signed-rank test"}


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def deviation(values: Sequence[float]) -> float | None:
    """The sample standard deviation (divisor n - 1); `None` for a single value."""
    if len(values) < 2:
        return None
    middle = mean(values)
    return math.sqrt(math.fsum((value - middle) ** 2 for value in values) / (len(values) - 1))


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Student's confidence interval of the mean, `mean -+ t(level, n - 1) s / sqrt(n)`; `None` below two
    values."""
    spread = deviation(values)
    if spread is None:
        return None
    half = t_quantile(level, len(values) - 1) * spread / math.sqrt(len(values))
    return mean(values) - half, mean(values) + half


def t_within(t: float, freedom: int) -> float:
    """`P(|T| < t)` for Student's T with a whole number of degrees of freedom, by the finite sums for it.

    Abramowitz & Stegun (1964), 26.7.3 and 26.7.4. Written out because importing SciPy for one quantile
    would take longer than all the rest of `dfa compare`.
    """
    angle = math.atan(t / math.sqrt(freedom))
    sine, square = math.sin(angle), math.cos(angle) ** 2
    if freedom % 2:
        term, total = math.cos(angle), 0.0
        for k in range(1, freedom - 1, 2):
            total += term
            term *= square * (k + 1) / (k + 2)
        return 2 / math.pi * (angle + sine * total)
    term, total = 1.0, 0.0
    for k in range(0, freedom - 1, 2):
        total += term
        term *= square * (k + 1) / (k + 2)
    return sine * total


def t_quantile(level: float, freedom: int) -> float:
    """The `t` with `P(|T| < t) = level`, by halving: 12.706 for 95 % and one degree of freedom."""
    low, high = 0.0, 1.0
    while t_within(high, freedom) < level:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if t_within(middle, freedom) < level else (low, middle)
    return high


@dataclass(frozen=True)
class Difference:
    """A group against the baseline over what both have in common.

    `mean`: of the paired differences (of the means, when nothing is in common); `ci`: its 95 % interval;
    `n`: pairs; `p`: two-sided, `None` where no test was made, for the reason in `why`; `significant`: p <
    0.05 after Holm's correction for all comparisons of the table, `None` where no test was made.
    """

    mean: float
    n: int
    ci: tuple[float, float] | None = None
    p: float | None = None
    why: str = ""
    significant: bool | None = None


def paired(mine: dict, theirs: dict, test: str = "t") -> Difference:
    """`mine` against `theirs`, both from seed to value."""
    common = [seed for seed in mine if seed in theirs]
    if not common:
        return Difference(mean(list(mine.values())) - mean(list(theirs.values())), 0, why="no seed in common")
    differences = [mine[seed] - theirs[seed] for seed in common]
    middle, spread = mean(differences), deviation(differences)
    ci = interval(differences)
    if len(common) < ENOUGH[test]:
        return Difference(middle, len(common), ci, why=f"fewer than {ENOUGH[test]} seeds in common")
    if not spread or spread < 1e-12 * max(abs(middle), 1e-300):
        return Difference(middle, len(common), ci, why="the same difference for every seed")
    return Difference(middle, len(common), ci, p=_p(differences, test))


def _p(differences: list[float], test: str) -> float:
    if test == "t":
        from scipy.special import stdtr  # a third of the time that importing scipy.stats takes

        t = mean(differences) / ((deviation(differences) or 0.0) / math.sqrt(len(differences)))
        return float(2 * stdtr(len(differences) - 1, -abs(t)))
    from scipy.stats import wilcoxon

    # Accuracies are counts: 0.812 - 0.81 and 0.814 - 0.812 are the same rank but for rounding.
    found: Any = wilcoxon([round(value, 12) for value in differences])
    return float(found.pvalue)


def holm(ps: Sequence[float], level: float = 0.05) -> list[bool]:
    """Which of several p-values are significant when the chance of even one false alarm is held at `level`.

    Holm (1979): from the smallest on, the k-th is compared with level / (m - k), and the first failure
    ends it.
    """
    found = [False] * len(ps)
    for rank, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        if ps[i] >= level / (len(ps) - rank):
            break
        found[i] = True
    return found
