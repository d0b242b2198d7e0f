"""Dropout drops the right share of entries, scales the others, and draws only from its own generator."""

from __future__ import annotations

import math

import pytest
import torch

from dfa_cli.kernels.sparse import SparseMatrix
from dfa_cli.models.dropout import Dropout
from dfa_cli.seeding import generator

ENTRIES = 400_000
# Two-sided bound for a normal variable: such a test fails by chance for one seed in 30,000.
SIGMAS = 4.2


def layer(p: float, seed: int = 0) -> Dropout:
    dropout = Dropout(p)
    dropout.generator = generator(seed, "dropout")
    return dropout


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.6, 0.9])
def test_mean_and_variance_are_those_of_a_bernoulli_mask(p: float) -> None:
    h = layer(p)(torch.ones(ENTRIES // 100, 100))
    assert isinstance(h, torch.Tensor)
    kept = h[h != 0]
    assert torch.allclose(kept, torch.tensor(1 / (1 - p)))
    # The number of kept entries is binomial.
    sigma = math.sqrt(ENTRIES * p * (1 - p))
    assert abs(len(kept) - ENTRIES * (1 - p)) <= SIGMAS * sigma
    # Each entry has mean 1 and variance p / (1 - p).
    deviation = math.sqrt(p / (1 - p) / ENTRIES)
    assert abs(h.double().mean().item() - 1) <= SIGMAS * deviation + 1e-6
    assert h.double().var().item() == pytest.approx(p / (1 - p), rel=0.03, abs=1e-12)


@pytest.mark.parametrize("axis", [0, 1])
def test_neighbours_are_dropped_independently(axis: int) -> None:
    h = layer(0.5)(torch.ones(632, 632))
    assert isinstance(h, torch.Tensor)
    kept = (h != 0).double() - 0.5
    for lag in (1, 2, 3, 4, 5, 8):
        ahead, behind = kept.narrow(axis, lag, 632 - lag), kept.narrow(axis, 0, 632 - lag)
        # Products of independent +-1/2 have standard deviation 1/4.
        correlation = (ahead * behind).mean().item() * 4 * math.sqrt(ahead.numel())
        assert abs(correlation) <= SIGMAS, f"lag {lag}"


def test_kept_entries_are_scaled_by_the_share_that_is_kept() -> None:
    x = torch.randn(50, 7, generator=generator(1, "x"))
    h = layer(0.25)(x)
    assert isinstance(h, torch.Tensor)
    torch.testing.assert_close(h[h != 0], x[h != 0] / 0.75)
    assert h.shape == x.shape


def test_it_draws_from_its_own_generator_only() -> None:
    x = torch.ones(100, 10)
    before = torch.get_rng_state()
    first = layer(0.5)(x)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(3)
    assert torch.equal(first, layer(0.5)(x))
    assert not torch.equal(first, layer(0.5, seed=1)(x))
    again = layer(0.5)
    assert not torch.equal(again(x), again(x)), "the second mask is the first"


@pytest.mark.parametrize("case", ["evaluation", "p = 0"])
def test_it_does_nothing_and_draws_nothing(case: str) -> None:
    dropout = layer(0.0 if case == "p = 0" else 0.5)
    dropout.train(case == "p = 0")
    assert dropout.generator is not None
    before = dropout.generator.get_state()
    x = torch.ones(5, 5)
    assert torch.equal(dropout(x), x)
    assert torch.equal(before, dropout.generator.get_state())


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_of_a_sparse_input_the_stored_entries_are_dropped(p: float) -> None:
    dense = torch.rand(1000, 800, generator=generator(2, "x")).sub_(0.5).clamp_(min=0)
    sparse = SparseMatrix.from_tensor(dense.to_sparse_csr())
    h = layer(p)(sparse)
    assert isinstance(h, SparseMatrix)
    assert torch.equal(h.csr.crow_indices(), sparse.csr.crow_indices())
    assert torch.equal(h.csr.col_indices(), sparse.csr.col_indices())
    stored = len(sparse.csr.values())
    kept = int((h.csr.values() != 0).sum())
    assert abs(kept - stored * (1 - p)) <= SIGMAS * math.sqrt(stored * p * (1 - p))
    where = h.dense != 0
    torch.testing.assert_close(h.dense[where], dense[where] / (1 - p))
    assert torch.equal(h.dense.T, h.transposed.to_dense()), "the transpose has another mask"


@pytest.mark.parametrize("p", [0.001, 0.999, 0.999999])
def test_rare_and_almost_certain_dropping(p: float) -> None:
    h = layer(p)(torch.ones(ENTRIES))
    assert isinstance(h, torch.Tensor)
    kept = int((h != 0).sum())
    p = min(p, 1 - 2**-16)  # The layer keeps at least one entry in 2^16.
    # The layer may round p by 2^-17.
    assert abs(kept - ENTRIES * (1 - p)) <= SIGMAS * math.sqrt(ENTRIES * p * (1 - p)) + ENTRIES * 2**-17
