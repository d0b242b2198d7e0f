"""The optimizers without the import of torch's compiler equal torch's own, to the last bit."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from typing import Any

import pytest
import torch
from program import Dfa
from torch import nn

from dfa_cli.config.compose import compose_run, conf_dir
from dfa_cli.config.instantiate import build
from dfa_cli.training.optimizer import make_optimizer, without_dynamo

OPTIMIZERS = sorted(path.stem for path in (conf_dir() / "optimizer").glob("*.yaml"))
STEPS = 6


def partial(name: str) -> functools.partial[torch.optim.Optimizer]:
    job = compose_run([f"optimizer={name}", "optimizer.weight_decay=0.01"])
    return build(job.config["optimizer"])


def layers() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return nn.Sequential(nn.Linear(7, 9), nn.Tanh(), nn.Linear(9, 3))


def groups(model: nn.Sequential) -> list[dict[str, Any]]:
    return [{"params": model[0].parameters()}, {"params": model[2].parameters(), "weight_decay": 0.0}]


def step(model: nn.Sequential, optimizer: torch.optim.Optimizer, number: int) -> None:
    optimizer.zero_grad(set_to_none=True)
    x = torch.randn(11, 7, generator=torch.Generator().manual_seed(number))
    model(x).square().sum().backward()
    optimizer.step()


def same(one: nn.Sequential, other: nn.Sequential) -> None:
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_steps_and_the_state_are_those_of_torchs_own_class(name: str) -> None:
    plain, bare = layers(), layers()
    start = [parameter.clone() for parameter in plain.parameters()]
    ours, theirs = make_optimizer(partial(name), groups(bare)), partial(name)(groups(plain))
    assert type(ours) is not type(theirs)
    assert isinstance(ours, type(theirs))
    for number in range(STEPS):
        step(plain, theirs, number)
        step(bare, ours, number)
        same(plain, bare)
    assert not any(torch.equal(a, b) for a, b in zip(start, plain.parameters(), strict=True))

    found, expected = ours.state_dict(), theirs.state_dict()
    assert found["param_groups"] == expected["param_groups"]
    for index, slots in expected["state"].items():
        for key, value in slots.items():
            assert value is found["state"][index][key] is None or torch.equal(
                value, found["state"][index][key]
            )


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("ours_first", [True, False])
def test_the_state_of_one_class_can_be_loaded_into_the_other(name: str, ours_first: bool) -> None:
    makers = [lambda g: make_optimizer(partial(name), g), lambda g: partial(name)(g)]
    first, second = makers if ours_first else reversed(makers)
    whole, before = layers(), layers()
    optimizer, early = first(groups(whole)), first(groups(before))
    for number in range(STEPS):
        step(whole, optimizer, number)
    for number in range(STEPS // 2):
        step(before, early, number)
    after = layers()
    after.load_state_dict(before.state_dict())
    late = second(groups(after))
    late.load_state_dict(early.state_dict())
    for number in range(STEPS // 2, STEPS):
        step(after, late, number)
    same(whole, after)


def test_hooks_and_differentiable_steps_work_as_in_torch() -> None:
    model = layers()
    optimizer = without_dynamo(torch.optim.SGD)(model.parameters(), lr=0.1)
    seen: list[bool] = []
    optimizer.register_step_post_hook(lambda *_: seen.append(torch.is_grad_enabled()))
    step(model, optimizer, 0)
    assert seen == [True]
    assert "SGD" in repr(optimizer)

    start = torch.ones(3, requires_grad=True)
    moved = start.clone()
    through = without_dynamo(torch.optim.SGD)([moved], lr=0.5, differentiable=True)
    moved.grad = (2 * start).clone()
    through.step()
    moved.sum().backward()
    assert start.grad is not None
    torch.testing.assert_close(start.grad, torch.zeros(3))  # d(s - 0.5 * 2 s)/ds


def test_an_optimizer_from_outside_torch_is_used_as_it_is() -> None:
    class Own(torch.optim.SGD):
        pass

    assert type(make_optimizer(functools.partial(Own, lr=0.1), groups(layers()))) is Own


@pytest.mark.parametrize("rule", ["bp", "dfa", "shallow"])
def test_a_run_imports_neither_the_compiler_nor_symbolic_algebra(dfa: Dfa, rule: str) -> None:
    words = ["data=digits_graph", "model=gcn", f"rule={rule}", "epochs=2", f"outputs={dfa.outputs}"]
    program = f"""
import json, sys
from dfa_cli.config.command import parse_command
from dfa_cli.launch.train import train
code = train(parse_command({words!r}, "dfa train"))
print(json.dumps([code, sorted(sys.modules.keys() & {{"torch._dynamo", "sympy", "torch"}})]))
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout.splitlines()[-1]) == [0, ["torch"]]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_on_a_card_the_rate_is_a_tensor_and_the_steps_are_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rate is rounded to single precision there, so the last bits differ."""
    on_cpu, model = layers(), layers()
    plain = make_optimizer(partial(name), groups(on_cpu))
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    optimizer = make_optimizer(partial(name), groups(model))
    for number in range(STEPS):
        step(on_cpu, plain, number)
        step(model, optimizer, number)
    for group, before in zip(optimizer.param_groups, plain.param_groups, strict=True):
        assert isinstance(group["lr"], torch.Tensor)
        assert group["initial_lr"] == before["lr"]
    for a, b in zip(model.parameters(), on_cpu.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)
