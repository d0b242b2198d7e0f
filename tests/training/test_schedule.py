"""Schedules of the learning rate."""

import math

import pytest
import torch

from dfa_cli.training.schedule import set_rate


def rates(schedule: str, epochs: int = 4) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.2)
    found = []
    for epoch in range(1, epochs + 1):
        set_rate(optimizer, schedule, epoch, epochs)
        found.append(optimizer.param_groups[0]["lr"])
    return found


def test_each_schedule_has_its_shape():
    assert rates("constant") == [0.2] * 4
    assert rates("linear") == pytest.approx([0.2, 0.15, 0.1, 0.05])
    assert rates("cosine") == pytest.approx([0.1 * (1 + math.cos(math.pi * k / 4)) for k in range(4)])


def test_a_rate_that_is_a_tensor_is_filled_in_place():
    """A recorded step reads the rate from this tensor."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=torch.tensor(0.2), fused=True)
    rate = optimizer.param_groups[0]["lr"]
    for epoch in (4, 1, 3):
        set_rate(optimizer, "linear", epoch, 4)
        assert optimizer.param_groups[0]["lr"] is rate
        assert float(rate) == pytest.approx(rates("linear")[epoch - 1])


def test_the_rate_is_a_function_of_the_epoch_alone():
    """A resumed run relies on it, since no scheduler is saved."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.2)
    for epoch in (4, 1, 3, 3):
        set_rate(optimizer, "cosine", epoch, 4)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(rates("cosine")[2])
