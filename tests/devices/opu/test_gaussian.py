"""Statistical tests of the computed coefficients: they must behave like independent Gaussian numbers.

Seeds are fixed, so the tests do not fail at random.
"""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from dfa_cli.devices.opu.media.gaussian import coefficients, row_keys

# The level of each test of a distribution: a correct generator fails it for one seed in a thousand.
LEVEL = 1e-3


def draw(seed: int, rows: int, columns: int, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    keys = row_keys(seed, torch.arange(rows))
    real, imaginary = coefficients(keys, torch.arange(first, first + columns))
    assert imaginary is not None
    return real.numpy().astype(float), imaginary.numpy().astype(float)


@pytest.mark.parametrize("seed", [0, 1, 2**62 + 5])
def test_entries_are_circular_gaussian(seed: int) -> None:
    real, imaginary = draw(seed, 500, 1000)
    for part in (real, imaginary):
        assert stats.kstest(part.ravel(), "norm").pvalue > LEVEL
    phase = np.arctan2(imaginary, real).ravel() / (2 * math.pi) + 0.5
    assert stats.kstest(phase, "uniform").pvalue > LEVEL
    # Circular: the pseudo-variance E t^2 vanishes, within 5 standard errors.
    pseudo = np.mean((real + 1j * imaginary) ** 2)
    assert abs(pseudo) < 5 * 2 / math.sqrt(real.size)


def test_speckle_intensity_is_exponential_with_contrast_one() -> None:
    real, imaginary = draw(3, 500, 1000)
    intensity = (real**2 + imaginary**2).ravel() / 2
    assert stats.kstest(intensity, "expon").pvalue > LEVEL
    assert intensity.std() / intensity.mean() == pytest.approx(1.0, abs=5 / math.sqrt(intensity.size))


def test_tails_reach_beyond_five() -> None:
    real, imaginary = draw(4, 2000, 2000)
    values = np.abs(np.concatenate([real.ravel(), imaginary.ravel()]))
    for bound in (3.0, 4.0, 4.5):
        expected = 2 * stats.norm.sf(bound) * values.size
        assert abs((values > bound).sum() - expected) < 5 * math.sqrt(expected)
    assert 5.0 < values.max() < 5.78
    assert stats.kurtosis(
        values * np.sign(np.concatenate([real.ravel(), imaginary.ravel()]))
    ) == pytest.approx(0.0, abs=5 * math.sqrt(24 / values.size))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("lag", [1, 2, 64, 256])
def test_neighbours_in_rows_and_columns_are_independent(axis: int, lag: int) -> None:
    """Entries `lag` apart have uncorrelated values and squares, within 5 standard errors."""
    for part in draw(5, 600, 700):
        near = np.take(part, range(part.shape[axis] - lag), axis)
        far = np.take(part, range(lag, part.shape[axis]), axis)
        for transformed in (near * far, (near**2 - 1) * (far**2 - 1) / 2):
            assert abs(transformed.mean()) < 5 / math.sqrt(near.size)


def test_real_and_imaginary_parts_are_independent() -> None:
    real, imaginary = draw(6, 500, 1000)
    for product in (real * imaginary, (real**2 - 1) * (imaginary**2 - 1) / 2):
        assert abs(product.mean()) < 5 / math.sqrt(real.size)


def test_correlations_between_all_rows_are_as_small_as_chance() -> None:
    """The sum of squared correlations over all pairs follows chi-squared; two-sided test at 1e-3."""
    real, imaginary = draw(7, 300, 2000)
    vectors = np.concatenate([real, imaginary])
    correlation = np.corrcoef(vectors)[np.triu_indices(len(vectors), 1)]
    chance = stats.chi2.cdf((correlation**2).sum() * 2000, correlation.size)
    assert LEVEL / 2 < chance < 1 - LEVEL / 2


@pytest.mark.parametrize(("seed", "other"), [(8, 9), (0, 2**63 - 1), (8, 8 + 2**32)])
def test_seeds_give_unrelated_matrices(seed: int, other: int) -> None:
    (real, _), (other_real, _) = draw(seed, 200, 500), draw(other, 200, 500)
    assert abs((real * other_real).mean()) < 5 / math.sqrt(real.size)
    # One must not be a shifted copy of the other either.
    assert np.isin(real, other_real).mean() < 0.05  # single precision repeats a few by chance


def test_rows_whose_keys_share_a_word_are_unrelated() -> None:
    """Among a million rows, a hundred pairs share 32 bits of their key. Such rows must be uncorrelated too."""
    columns = torch.arange(30_000)
    key = torch.tensor([[123456789, -987654321, 5551212]], dtype=torch.int32)
    real, _ = coefficients(key, columns)
    for word in (0, 1):
        for bit in range(32):
            changed = key.clone()
            changed[0, word] ^= 1 << bit if bit < 31 else -(2**31)
            other, _ = coefficients(changed, columns)
            assert abs(float((real * other).mean())) < 5 / math.sqrt(len(columns))


def test_any_part_can_be_computed_alone() -> None:
    whole, _ = draw(10, 50, 400)
    part, _ = draw(10, 50, 100, first=200)
    assert np.array_equal(whole[:, 200:300], part)
    keys = row_keys(10, torch.tensor([7, 3]))
    assert np.array_equal(coefficients(keys, torch.arange(400))[0].numpy(), whole[[7, 3]].astype(np.float32))


def test_columns_do_not_repeat_after_2_to_the_31() -> None:
    low, _ = draw(11, 4, 1000)
    high, _ = draw(11, 4, 1000, first=2**31)
    assert np.isin(low, high).mean() < 0.05


def test_compiled_coefficients_are_equal_to_the_last_bit() -> None:
    from dfa_cli.devices.opu.media import compiled as kernels

    keys = row_keys(12, torch.arange(200))
    for first in (0, 12_345, 2**31 - 100):
        real, imaginary = np.empty((200, 500), np.float32), np.empty((200, 500), np.float32)
        kernels.fill(keys.numpy().view(np.uint32), np.uint32(first), real, imaginary)
        expected = coefficients(keys, torch.arange(first, first + 500))
        assert expected[1] is not None
        assert np.array_equal(real, expected[0].numpy())
        assert np.array_equal(imaginary, expected[1].numpy())
