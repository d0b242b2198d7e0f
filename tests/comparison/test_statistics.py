"""The statistics of the table agree with those of NumPy and SciPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from dfa_cli.comparison import statistics

QUANTILES = 1e-8  # SciPy 1.11 computes quantiles to eight digits, and probabilities to twelve
VALUES = [0.8123, 0.8051, 0.8188, 0.8012, 0.8099, 0.8144, 0.8067]


@pytest.mark.parametrize("n", [3, 5, 7])
def test_mean_deviation_and_interval(n: int):
    values = VALUES[:n]
    assert statistics.mean(values) == pytest.approx(np.mean(values), rel=1e-14)
    assert statistics.deviation(values) == pytest.approx(np.std(values, ddof=1), rel=1e-12)
    expected = stats.t.interval(0.95, n - 1, loc=np.mean(values), scale=stats.sem(values))
    assert statistics.interval(values) == pytest.approx(expected, rel=1e-11)


def test_too_few_values_have_no_spread_and_no_interval():
    assert statistics.deviation([0.8]) is None
    assert statistics.interval([0.8]) is None
    assert statistics.interval([0.8, 0.9]) is None
    assert statistics.fraction_interval([]) is None
    assert statistics.fraction_interval([0.8, 0.9]) is None


@pytest.mark.parametrize(
    "values", [[0.1, 0.5, 0.9], [0.99, 1.0, 1.0], [0.0, 0.0, 0.003], [0.2, 0.3, 0.9, 1.0], [0.5, 1e-9, 1.0]]
)
def test_the_interval_of_fractions_stays_within_0_and_1_and_holds_the_mean(values: list[float]):
    low, high = statistics.fraction_interval(values) or (math.nan, math.nan)
    assert 0 <= low < np.mean(values) < high <= 1


@pytest.mark.parametrize("value", [0.0, 0.7, 1.0])
def test_the_interval_of_equal_fractions_is_a_point(value: float):
    assert statistics.fraction_interval([value] * 4) == pytest.approx((value, value))


def test_the_interval_of_fractions_is_students_where_they_are_close_together():
    values = [0.8 + 1e-5 * value for value in VALUES]
    assert statistics.fraction_interval(values) == pytest.approx(statistics.interval(values), rel=1e-9)


@pytest.mark.parametrize(("mean", "n"), [(0.8, 3), (0.8, 10), (0.96, 5)])
def test_the_interval_of_fractions_covers_the_mean_as_often_as_it_says(mean: float, n: int):
    # 4,000 samples: an observed share is within 0.0137 of the true one with probability 0.9999 if that is 0.95.
    rng = np.random.default_rng(n)
    samples = rng.beta(mean * 400, (1 - mean) * 400, (4000, n))
    ends = [statistics.fraction_interval(list(sample)) or (1.0, 0.0) for sample in samples]
    covered = np.mean([low <= mean <= high for low, high in ends])
    assert abs(covered - 0.95) < 0.0137


@pytest.mark.parametrize("test", ["t", "wilcoxon"])
def test_equivalence_is_shown_by_two_one_sided_tests(test: str):
    mine, theirs = _pairs(12)
    margin = 0.012
    down = np.subtract(list(mine.values()), list(theirs.values())).round(12)
    one: Any = (
        stats.ttest_1samp
        if test == "t"
        else lambda x, _, alternative: stats.wilcoxon(x, alternative=alternative)
    )
    above = one((down + margin).round(12), 0, alternative="greater").pvalue
    below = one((down - margin).round(12), 0, alternative="less").pvalue
    found = statistics.paired_difference(mine, theirs, test, margin)
    assert found.p_equivalent == pytest.approx(max(above, below), rel=1e-9)
    assert statistics.paired_difference(mine, theirs, test).p_equivalent is None


def test_an_equivalence_agrees_with_the_interval_of_ninety_per_cent():
    mine, theirs = _pairs(9)
    differences = [mine[seed] - theirs[seed] for seed in mine]
    low, high = statistics.interval(differences, 0.9) or (0.0, 0.0)
    edge = max(abs(low), abs(high))
    assert statistics.equivalence_p(differences, edge * 1.0001) < 0.05
    assert statistics.equivalence_p(differences, edge * 0.9999) > 0.05


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 9, 10, 29, 30, 99, 1000])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99, 0.9999])
def test_students_quantile(freedom: int, level: float):
    expected = float(stats.t.ppf(0.5 + level / 2, freedom))
    quantile = statistics.t_quantile(level, freedom)
    assert quantile == pytest.approx(expected, rel=QUANTILES)
    for t in (expected, quantile):
        probability = 1 - 2 * stats.t.sf(t, freedom)
        assert statistics.central_probability(t, freedom) == pytest.approx(probability, abs=1e-12)
    assert probability == pytest.approx(level, abs=1e-12)


def wilcoxon(mine: Any, theirs: Any = None) -> float:
    found: Any = stats.wilcoxon(mine, theirs)
    return found.pvalue


def _pairs(n: int) -> tuple[dict, dict]:
    rng = np.random.default_rng(n)
    theirs = {(str(i),): float(value) for i, value in enumerate(rng.normal(0.8, 0.01, n))}
    mine = {seed: value + float(rng.normal(0.004, 0.006)) for seed, value in theirs.items()}
    return mine, theirs


@pytest.mark.parametrize("n", [6, 10, 25])
def test_paired_tests_are_those_of_scipy(n: int):
    mine, theirs = _pairs(n)
    a, b = list(mine.values()), list(theirs.values())
    t = statistics.paired_difference(mine, theirs, "t")
    assert t.p == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-9)
    assert t.mean == pytest.approx(np.mean(a) - np.mean(b))
    assert t.ci == pytest.approx(tuple(stats.ttest_rel(a, b).confidence_interval(0.95)), rel=QUANTILES)
    assert statistics.paired_difference(mine, theirs, "wilcoxon").p == pytest.approx(wilcoxon(a, b))


def test_only_common_seeds_are_paired():
    mine, theirs = _pairs(8)
    extra = {**mine, ("99",): 0.1}
    assert statistics.paired_difference(extra, theirs).mean == statistics.paired_difference(mine, theirs).mean
    assert statistics.paired_difference(extra, theirs).n == 8


def test_no_test_without_enough_pairs():
    mine, theirs = _pairs(4)
    few = statistics.paired_difference(mine, theirs, "t")
    assert few.p is None
    assert few.significant is None
    assert few.why == "fewer than 5 seeds in common"
    mine, theirs = _pairs(5)
    assert statistics.paired_difference(mine, theirs, "wilcoxon").p is None
    assert statistics.paired_difference(mine, theirs, "t").p is not None


def test_without_spread_the_reason_is_given():
    theirs = {(str(i),): 0.5 + i / 8 for i in range(6)}
    same = statistics.paired_difference({seed: value + 0.25 for seed, value in theirs.items()}, theirs)
    assert same.p is None
    assert same.why == "the same difference in every pair"


def test_ties_of_counted_accuracies_do_not_depend_on_rounding():
    theirs = {(str(i),): value for i, value in enumerate([0.81, 0.812, 0.8, 0.79, 0.805, 0.82])}
    steps = [0.002, 0.002, -0.002, 0.002, 0.004, 0.004]
    mine = {seed: value + step for (seed, value), step in zip(theirs.items(), steps, strict=True)}
    exact = wilcoxon([1, 1, -1, 1, 2, 2])
    assert statistics.paired_difference(mine, theirs, "wilcoxon").p == pytest.approx(exact)


def test_holms_correction():
    assert statistics.holm([0.01, 0.04, 0.03]) == [True, False, False]
    assert statistics.holm([0.01, 0.02, 0.03]) == [True, True, True]
    assert statistics.holm([0.04]) == [True]
    assert statistics.holm([0.05]) == [False]
    assert statistics.holm([]) == []
    # The k-th smallest of m p-values is significant if (m - k + 1) p is below the level for it and all smaller ones.
    ps = list(np.random.default_rng(0).uniform(0, 0.05, 40))
    ranked = np.sort(ps)
    adjusted = np.maximum.accumulate((len(ps) - np.arange(len(ps))) * ranked)
    assert sum(statistics.holm(ps)) == int(np.sum(adjusted < 0.05))
    assert math.isclose(min(ps), ranked[0])
