"""In a run with code of the user's own the sentence on a divergence says in which step, and which parameter it was."""

from __future__ import annotations

import pytest
from program import Dfa

RULE = """
from dfa_cli.rules import Backpropagation, Step
class Own(Backpropagation):
    steps = 0
    def backward(self, model, batch):
        step = super().backward(model, batch)
        self.steps += 1
        if self.steps == {number}:
            {line}
        return step
"""
SPOIL = "model.blocks[1].layer.weight.grad[0, 0] = float('nan')"
# An epoch has four steps, and the run has two epochs.
CASES = {
    "the first step": (
        1,
        SPOIL,
        "The gradient of blocks.1.layer.weight was not finite in step 1 of epoch 1, whose loss was finite.",
    ),
    "a later step": (
        6,
        SPOIL,
        "blocks.1.layer.weight was not finite after step 2 of epoch 2, whose loss was finite.",
    ),
    "the last step of an epoch": (
        4,
        SPOIL,
        "blocks.1.layer.weight was not finite after step 4 of epoch 1, whose loss was finite.",
    ),
    "the last step of all": (
        8,
        SPOIL,
        "blocks.1.layer.weight was not finite after step 4 of epoch 2, whose loss was finite.",
    ),
    "several parameters": (
        3,
        "[p.grad.mul_(float('inf')) for p in model.blocks[0].parameters()]",
        "blocks.0.layer.weight and 1 other were not finite after step 3 of epoch 1, whose loss was finite.",
    ),
    "the loss": (
        2,
        "return Step(step.loss * float('nan'), step.correct)",
        "The loss of step 2 of epoch 1 was not finite, and all weights were finite then.",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_step_and_the_parameter_are_named(case: str, dfa: Dfa, monkeypatch: pytest.MonkeyPatch) -> None:
    number, line, says = CASES[case]
    name = f"traced_{number}"
    (dfa.root / "mine" / "rule").mkdir(parents=True)
    (dfa.root / "mine" / f"{name}.py").write_text(RULE.format(number=number, line=line))
    (dfa.root / "mine" / "rule" / "own.yaml").write_text(f"_target_: {name}.Own\nneeds: nothing\n")
    monkeypatch.chdir(dfa.root)
    words = ("data=digits", "tuned=none", "model.hidden=[8]", "epochs=2", "batch_size=256", "progress=none")
    answer = dfa.train("--config-dir", "mine", *words, "rule=own")
    assert answer.code == 1, answer.err
    assert f"training was stopped. {says} The run uses code of your own, Own (mine/{name}.py, line 3): " in (
        answer.sentence
    )
    (run,) = dfa.runs()
    assert run.record["status"] == "failed"


def test_a_run_without_own_code_is_told_to_take_a_smaller_rate(dfa: Dfa) -> None:
    words = ("data=digits", "tuned=none", "model.hidden=[8]", "epochs=2", "optimizer=sgd", "rule=bp")
    answer = dfa.train(*words, "optimizer.lr=1e38", "progress=none")
    assert answer.code == 1
    assert answer.sentence.endswith(" are the activations of block 2. Try a smaller optimizer.lr.")


OPTIMIZERS = {
    "a wrapper without a constructor of torch": """
import torch
class Own(torch.optim.Optimizer):
    def __init__(self, groups, lr):
        self.inner = torch.optim.SGD(groups, lr=lr)
        self.param_groups, self.state, self.defaults = self.inner.param_groups, self.inner.state, self.inner.defaults
    def step(self):
        self.inner.step()
    def zero_grad(self, set_to_none=True):
        self.inner.zero_grad(set_to_none)
""",
    "a class that is like one of torch": """
import torch
class Own:
    def __init__(self, groups, lr):
        self.inner = torch.optim.SGD(groups, lr=lr)
        self.param_groups, self.state = self.inner.param_groups, self.inner.state
        self.step, self.zero_grad = self.inner.step, self.inner.zero_grad
        self.state_dict, self.load_state_dict = self.inner.state_dict, self.inner.load_state_dict
""",
}


@pytest.mark.parametrize("case", OPTIMIZERS)
def test_an_optimizer_without_the_hooks_of_torch_trains(
    case: str, dfa: Dfa, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"hookless_{list(OPTIMIZERS).index(case)}"
    (dfa.root / "mine" / "optimizer").mkdir(parents=True)
    (dfa.root / "mine" / f"{name}.py").write_text(OPTIMIZERS[case])
    (dfa.root / "mine" / "optimizer" / "own.yaml").write_text(
        f"_target_: {name}.Own\n_partial_: true\nlr: 0.1\n"
    )
    monkeypatch.chdir(dfa.root)
    words = ("data=digits", "tuned=none", "model.hidden=[8]", "epochs=2", "progress=none", "optimizer=own")
    own = dfa.run("--config-dir", "mine", *words)
    assert own.repeatable == dfa.run(*words[:-1], "optimizer=sgd", "optimizer.momentum=0").repeatable
