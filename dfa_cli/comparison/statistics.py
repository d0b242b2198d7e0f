"""Mean, standard deviation, confidence intervals, and the paired tests. SciPy is imported for the tests only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

# The least number of pairs for a test. With fewer than six pairs, Wilcoxon's p cannot fall below 0.05.
MIN_PAIRS = {"t": 5, "wilcoxon": 6}
TEST_NAMES = {"t": "paired t-test", "wilcoxon": "Wilcoxon signed-rank test"}
SAME_DIFFERENCE = "the same difference in every pair"
MIN_FOR_INTERVAL = 3  # the least number of values for a confidence interval


def mean(values: Sequence[float]) -> float:
    try:
        return math.fsum(values) / len(values)
    except OverflowError:  # The sum is beyond the largest float, and the mean is not.
        return math.fsum(value / len(values) for value in values)


def deviation(values: Sequence[float]) -> float | None:
    """Computes the sample standard deviation (divisor n - 1); `None` for fewer than two values."""
    if len(values) < 2:
        return None
    average = mean(values)
    try:
        return math.sqrt(math.fsum((value - average) ** 2 for value in values) / (len(values) - 1))
    except OverflowError:
        return math.inf


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Computes Student's confidence interval of the mean; `None` for fewer than three values.

    Its ends are `mean -+ t(level, n - 1) s / sqrt(n)`, with the sample standard deviation `s`. Two values say
    too little about their spread: their factor `t` is 12.7.
    """
    std = deviation(values)
    if std is None or len(values) < MIN_FOR_INTERVAL:
        return None
    half_width = t_quantile(level, len(values) - 1) * std / math.sqrt(len(values))
    return mean(values) - half_width, mean(values) + half_width


def fraction_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Computes Student's interval of the mean of fractions on the logit scale, so that its ends stay within 0 and 1.

    With the mean `m`, the ends are `expit(logit(m) -+ t(level, n - 1) s / (sqrt(n) m (1 - m)))`. By the delta method
    `s / (sqrt(n) m (1 - m))` is the standard error of `logit(m)` (Agresti 2013, Categorical Data Analysis, 16.1). A
    single value may be 0 or 1. `None` for fewer than three values.
    """
    ends = interval(values, level)
    average = mean(values) if values else 0.0
    if ends is None or not 0 < average < 1:
        return ends
    centre = math.log(average / (1 - average))
    half_width = (ends[1] - average) / (average * (1 - average))
    return _expit(centre - half_width), _expit(centre + half_width)


def _expit(x: float) -> float:
    return (1 + math.tanh(x / 2)) / 2  # 1 / (1 + exp(-x)), which would overflow


def central_probability(t: float, freedom: int) -> float:
    """Computes `P(|T| < t)` for Student's T with a whole number of degrees of freedom.

    For whole numbers it is a finite sum: Abramowitz & Stegun (1964), 26.7.3 and 26.7.4. It is written out here because
    to import SciPy for one quantile would take longer than all the rest of `dfa compare`.
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
    """Finds the `t` with `P(|T| < t) = level` by bisection: 12.706 for 95 % and one degree of freedom."""
    low, high = 0.0, 1.0
    while central_probability(high, freedom) < level:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if central_probability(middle, freedom) < level else (low, middle)
    return high


@dataclass(frozen=True)
class Difference:
    """The difference of a group from the baseline, over the seeds that both have in common.

    `values`: the difference of each pair. `ci`: the 95 % confidence interval of their mean, from three pairs on.
    `p`: two-sided; `None` where no test was made, for the reason in `why`. `significant`: whether p < 0.05 after Holm's
    correction for all comparisons of the table. If a margin was named, `ci_equivalent` is the 90 % confidence interval
    of the mean, and `p_equivalent` the p-value of the test that the mean is within the margin. `equivalent`: whether it
    is, after Holm's correction. Each verdict and each p-value is `None` where no test was made.
    """

    values: tuple[float, ...]
    ci: tuple[float, float] | None = None
    ci_equivalent: tuple[float, float] | None = None
    p: float | None = None
    why: str = ""
    significant: bool | None = None
    p_equivalent: float | None = None
    equivalent: bool | None = None

    @property
    def mean(self) -> float:
        return mean(self.values)

    @property
    def n(self) -> int:
        return len(self.values)


def paired_difference(
    mine: Mapping[Any, float],
    theirs: Mapping[Any, float],
    test: str = "t",
    margin: float | None = None,
    seeds: str = "seeds",
) -> Difference:
    """Compares `mine` with `theirs`, two mappings from seed to value, by a paired test if there are enough pairs.

    With a `margin`, it also tests whether the difference lies within `-margin` and `margin`. At least one seed must be
    in common. `seeds`: what the keys of the two mappings are called.
    """
    common = [seed for seed in mine if seed in theirs]
    differences = [mine[seed] - theirs[seed] for seed in common]
    # The test for equality agrees with an interval of 90 %. That of Student does not belong to Wilcoxon's test.
    found = Difference(
        tuple(differences),
        interval(differences),
        interval(differences, 0.9) if margin is not None and test == "t" else None,
    )
    if found.n < MIN_PAIRS[test]:
        return replace(found, why=f"fewer than {MIN_PAIRS[test]} {seeds} in common")
    # Differences that are equal up to rounding have no spread to test against.
    std = deviation(differences)
    if not std or std < 1e-12 * max(abs(found.mean), 1e-300):
        return replace(found, why=SAME_DIFFERENCE)
    return replace(
        found,
        p=_p_value(differences, test, "two-sided"),
        p_equivalent=None if margin is None else equivalence_p(differences, margin, test),
    )


def equivalence_p(differences: Sequence[float], margin: float, test: str = "t") -> float:
    """Computes the p-value of two one-sided tests: is the mean difference within `-margin` and `margin`?

    It is the larger p-value of the test of `mean > -margin` and that of `mean < margin` (Schuirmann 1987).
    """
    above = _p_value([value + margin for value in differences], test, "greater")
    below = _p_value([value - margin for value in differences], test, "less")
    return max(above, below)


def _p_value(differences: Sequence[float], test: str, alternative: str) -> float:
    """Tests the paired differences against zero. `alternative`: `two-sided`, `greater` or `less`."""
    if test == "t":
        from scipy.special import stdtr  # Importing scipy.stats would take three times as long.

        t = mean(differences) / ((deviation(differences) or 0.0) / math.sqrt(len(differences)))
        freedom = len(differences) - 1
        if alternative == "two-sided":
            return float(2 * stdtr(freedom, -abs(t)))
        return float(stdtr(freedom, -t if alternative == "greater" else t))
    from scipy.stats import wilcoxon

    # Accuracies are fractions of counts: 0.812 - 0.81 and 0.814 - 0.812 must have the same rank in spite of rounding.
    outcome: Any = wilcoxon([round(value, 12) for value in differences], alternative=alternative)
    return float(outcome.pvalue)


def least_p(pairs: int, test: str) -> float:
    """Returns the smallest two-sided p-value that a test can give: `2 / 2^n` for Wilcoxon's of `n` pairs."""
    return 2.0 ** (1 - pairs) if test == "wilcoxon" else 0.0


def holm(ps: Sequence[float], level: float = 0.05) -> list[bool]:
    """Tells which of several p-values are significant, with the family-wise error rate held at `level`.

    Holm (1979): the procedure goes from the smallest p-value to the largest. Of m p-values, the one of rank
    k = 0, 1, ... is significant if it is below level / (m - k). The procedure stops at the first one that is not.
    """
    significant = [False] * len(ps)
    for rank, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        if ps[i] >= level / (len(ps) - rank):
            break
        significant[i] = True
    return significant
