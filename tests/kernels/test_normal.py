"""Normal numbers from 16 bits each, against scipy's normal distribution."""

import numpy as np
import pytest
import scipy.stats
import torch

from dfa_cli.kernels.normal import normal_like, quantiles

LEVEL = 0.001


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return normal_like(torch.empty(shape), torch.Generator().manual_seed(seed))


def test_the_values_have_the_distribution_of_a_normal_number() -> None:
    z = quantiles().double().numpy()
    below = scipy.stats.norm.cdf(z)
    assert abs(z.mean()) < 1e-9
    assert z.var() == pytest.approx(1, abs=1e-6)
    assert (z**4).mean() == pytest.approx(3, abs=2e-3)
    # Between its steps, the distribution function of the values is k / 65536.
    steps = np.arange(len(z) + 1) / len(z)
    assert max(np.abs(below - steps[:-1]).max(), np.abs(below - steps[1:]).max()) < 2.0**-16


def test_draws_are_normal_and_independent() -> None:
    z = draw(1000, 400).numpy()
    assert scipy.stats.kstest(z.ravel(), "norm").pvalue > LEVEL
    bound = scipy.stats.norm.isf(LEVEL / 2)
    for lag in (
        1,
        2,
        3,
        4,
        400,
    ):  # the neighbours within a number of 64 bits, of the next one, and of the next row
        correlation = np.mean(z.ravel()[lag:] * z.ravel()[:-lag])
        assert abs(correlation) * np.sqrt(z.size) < bound + 1


@pytest.mark.parametrize("shape", [(0,), (1,), (3, 5), (4, 8)])
def test_any_shape_is_drawn(shape: tuple[int, ...]) -> None:
    assert draw(*shape).shape == shape
    assert torch.equal(draw(*shape), draw(*shape))
    assert not shape[0] or not torch.equal(draw(*shape), draw(*shape, seed=1))
