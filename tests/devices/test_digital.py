"""The digital projection device."""

from __future__ import annotations

import pytest
import torch

from dfa_cli.devices import Digital
from dfa_cli.errors import DfaError

CPU = torch.device("cpu")


def test_the_projection_is_a_product_with_a_stored_matrix() -> None:
    device = Digital("cpu", matrix_seed=3)
    device.prepare(7, 50, CPU)
    e = torch.randn(20, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.equal(device.project(e), e @ device.matrix().double())
    assert torch.equal(device.project(e), device.project(e))


@pytest.mark.parametrize(("distribution", "fourth"), [("gaussian", 3.0), ("uniform", 9 / 5)])
def test_entries_have_the_fourth_moment_of_their_distribution(distribution: str, fourth: float) -> None:
    device = Digital("cpu", distribution)
    device.prepare(100, 4000, CPU)
    b = device.matrix().double()
    # The mean of 400,000 fourth powers has a standard error of 0.4 % at most.
    assert b.pow(4).mean().item() == pytest.approx(fourth, rel=0.02)
    if distribution == "uniform":
        assert b.abs().max().item() <= 3**0.5


def test_it_has_no_frames_and_models_nothing() -> None:
    device = Digital("cpu")
    device.prepare(3, 5, CPU)
    device.project(torch.ones(2, 3))
    cost = device.cost()
    assert (cost.rows, cost.frames, cost.coefficients) == (2, 0, 30)
    assert cost.modelled_seconds is cost.modelled_joules is None


def test_an_unknown_distribution_is_refused_and_the_known_ones_named() -> None:
    with pytest.raises(DfaError, match=r"gausian\. It must be one of gaussian, uniform"):
        Digital("cpu", distribution="gausian")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_without_cuda_auto_is_the_cpu_and_cuda_is_refused() -> None:
    auto, cpu = Digital("auto"), Digital("cpu")
    for device in (auto, cpu):
        device.prepare(4, 6, CPU)
    assert torch.equal(auto.matrix(), cpu.matrix())
    with pytest.raises(DfaError, match=r"CUDA.*device=auto"):
        Digital("cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA")
def test_the_matrix_is_the_same_on_cuda() -> None:
    cuda, cpu = Digital("cuda"), Digital("cpu")
    for device in (cuda, cpu):
        device.prepare(4, 6, CPU)
    assert torch.equal(cuda.matrix().cpu(), cpu.matrix())
    e = torch.ones(2, 4)
    assert cuda.project(e).device == e.device
    torch.testing.assert_close(cuda.project(e), cpu.project(e))
