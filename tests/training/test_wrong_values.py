"""What a class of the user's own returns in place of a tensor, a cost or a step is told, with what it must return."""

from __future__ import annotations

import re

import pytest
from program import Dfa

HEAD = (
    "import torch\n"
    "from dfa_cli.devices import Cost\n"
    "from dfa_cli.models import Block, Linear, Model\n"
    "from dfa_cli.rules import Step, loss_and_error\n"
)
MODEL = """
class Layer(torch.nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.linear = Linear(sizes.features, 16, sizes.weights)
    def forward(self, h, graph):
        out = self.linear(h, graph)
        return out
class Own(Model):
    def __init__(self, sizes):
        last = Block(Linear(16, sizes.classes, sizes.weights), sizes.classes)
        super().__init__([Block(Layer(sizes), 16, "tanh"), last])
"""
FORWARD = """
    def forward(self, batch):
        out = super().forward(batch)
        return out
"""
DEVICE = """
class Own:
    def prepare(self, n_in, n_out, compute):
        self.feedback, self.rows = torch.randn(n_in, n_out), 0
    def project(self, error):
        self.rows += len(error)
        out = error @ self.feedback
        return out
    def cost(self):
        return Cost(rows=self.rows)
    def state_dict(self):
        return {}
    def load_state_dict(self, state):
        pass
"""
RULE = """
class Own:
    def prepare(self, model, classes, device, compute):
        self.steps = 0
    def backward(self, model, batch):
        self.steps += 1
        logits = model(batch)
        step, error = loss_and_error(logits, batch.targets)
        logits.backward(error)
        return step
"""
SIGNAL = """
from dfa_cli.rules import DirectFeedbackAlignment
class Own(DirectFeedbackAlignment):
    def projected_signal(self, error, batch):
        return {}
"""
# the class, what its method returns, and what the sentence says of that
LAYERS = {
    "nothing": ("None", "nothing"),
    "a tuple": ("(out, out)", "tuple"),
    "an array": ("out.detach().numpy()", "ndarray"),
    "a scalar": ("out.mean()", "a tensor [] of float32"),
    "one row": ("out.mean(0, keepdim=True)", "a tensor [1, 16] of float32"),
}
FORWARDS = {
    "nothing": ("None", "nothing"),
    "a tuple": ("(out, out)", "tuple"),
    "one column": ("out.sum(1)", "a tensor [100] of float32"),
    "few columns": ("out[:, :3]", "a tensor [100, 3] of float32"),
}
DEVICES = {
    "nothing": ("None", "nothing"),
    "an array": ("out.numpy()", "ndarray"),
    "too few columns": ("out[:, :-1]", "a tensor [100, 127] of float32"),
    "one row": ("out[:1]", "a tensor [1, 128] of float32"),
    "whole numbers": ("out.long()", "a tensor [100, 128] of int64"),
}
SIGNALS = {
    "nothing": ("None", "nothing"),
    "an array": ("error.numpy()", "ndarray"),
    "a tuple": ("(error,)", "tuple"),
    "few columns": ("error[:, :3]", "a tensor [100, 3] of float32"),
    "few rows": ("error[:5]", "a tensor [5, 10] of float32"),
    "one dimension": ("error.sum(1)", "a tensor [100] of float32"),
}
COSTS = {"{}": "dict", "None": "nothing", "Cost": "type", "3": "int"}
STEPS = {
    "Step(step.correct, step.loss)": "a whole number as `loss` and a fraction as `correct`, as if the two were swapped",
    "Step(step.loss, 7)": "int in place of a tensor as `correct`",
    "Step(step.loss, logits.argmax(1))": r"`correct` of the shape \[100\], in place of a tensor with one number",
}
WORDS = ("data=digits", "tuned=none", "epochs=1", "batch_size=100", "progress=none")


def words_for(dfa: Dfa, group: str, text: str, name: str) -> list[str]:
    (dfa.root / "mine" / group).mkdir(parents=True)
    (dfa.root / "mine" / f"{name}.py").write_text(HEAD + text)
    (dfa.root / "mine" / group / "own.yaml").write_text(f"_target_: {name}.Own\nneeds: nothing\n")
    if group == "device":
        (dfa.root / "mine" / group / "own.yaml").write_text(f"_target_: {name}.Own\n")
    hidden = [] if group == "model" else ["model.hidden=[128]"]
    return ["--config-dir", "mine", *WORDS, *hidden, f"{group}=own"]


@pytest.fixture(autouse=True)
def beside_the_folder(dfa: Dfa, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(dfa.root)


def name_of(request: pytest.FixtureRequest) -> str:
    """A name for the module of this test, since a module is imported once."""
    return "own_" + re.sub(r"\W+", "_", request.node.name)


@pytest.mark.parametrize("rule", ["dfa", "bp", "fa"])
@pytest.mark.parametrize("case", LAYERS)
def test_what_a_layer_returns(case: str, rule: str, dfa: Dfa, request: pytest.FixtureRequest) -> None:
    value, given = LAYERS[case]
    name = name_of(request)
    text = MODEL.replace("        return out\n", f"        return {value}\n")
    answer = dfa.train(*words_for(dfa, "model", text, name), f"rule={rule}")
    assert answer.code == 2, answer.err
    assert answer.sentence == (
        f"error: Layer (mine/{name}.py, line 6): forward returned {given}. It must return a floating-point tensor "
        "[100, 16] here: a row for each row of its input, and 16 columns, the width of block 1."
    )
    assert dfa.left() == []


@pytest.mark.parametrize("case", FORWARDS)
def test_what_a_model_returns(case: str, dfa: Dfa, request: pytest.FixtureRequest) -> None:
    value, given = FORWARDS[case]
    name = name_of(request)
    text = MODEL + FORWARD.replace("return out", f"return {value}")
    answer = dfa.train(*words_for(dfa, "model", text, name), "rule=bp")
    assert answer.sentence == (
        f"error: Own (mine/{name}.py, line 13): forward returned {given}. It must return a floating-point tensor "
        "[100, 10] here: the logits, with a row for each label and a column for each class."
    )
    assert dfa.left() == []


@pytest.mark.parametrize("case", DEVICES)
def test_what_a_device_projects(case: str, dfa: Dfa, request: pytest.FixtureRequest) -> None:
    value, given = DEVICES[case]
    name = name_of(request)
    text = DEVICE.replace("        return out\n", f"        return {value}\n")
    answer = dfa.train(*words_for(dfa, "device", text, name))
    assert answer.sentence == (
        f"error: Own (mine/{name}.py, line 6): project returned {given}. It must return a floating-point tensor "
        "[100, 128] here: a row for each row of the error, and n_out columns."
    )
    assert dfa.left() == []


@pytest.mark.parametrize("device", ["cpu", "opu_sim"])
@pytest.mark.parametrize("case", SIGNALS)
def test_what_a_rule_gives_to_the_device(
    case: str, device: str, dfa: Dfa, request: pytest.FixtureRequest
) -> None:
    value, given = SIGNALS[case]
    name = name_of(request)
    words = words_for(dfa, "rule", SIGNAL.format(value), name)
    (dfa.root / "mine" / "rule" / "own.yaml").write_text(
        f"_target_: {name}.Own\nneeds: projection\nscale: 1.0\nshare_columns: false\nspread_over_edges: false\n"
    )
    answer = dfa.train(*words, f"device={device}")
    assert answer.sentence == (
        f"error: Own (mine/{name}.py, line 7): projected_signal returned {given}. It must return a floating-point "
        "tensor [100, 10] here: a row for each row of the error, and a column for each class."
    )
    assert dfa.left() == []


@pytest.mark.parametrize("value", COSTS)
def test_what_a_device_gives_as_its_cost(value: str, dfa: Dfa, request: pytest.FixtureRequest) -> None:
    name = name_of(request)
    text = DEVICE.replace("return Cost(rows=self.rows)", f"return {value}")
    answer = dfa.train(*words_for(dfa, "device", text, name))
    assert answer.sentence == (
        f"error: Own (mine/{name}.py, line 6): cost returned {COSTS[value]}. It must return Cost(rows=..., ...) of "
        "dfa_cli.devices: what all projections since prepare have cost."
    )
    assert dfa.left() == []


@pytest.mark.parametrize("value", STEPS)
def test_what_a_rule_returns(value: str, dfa: Dfa, request: pytest.FixtureRequest) -> None:
    name = name_of(request)
    text = RULE.replace("return step", f"return {value}")
    answer = dfa.train(*words_for(dfa, "rule", text, name))
    assert answer.code == 2
    pattern = rf"error: Own \(mine/{name}\.py, line 6\): backward returned {STEPS[value]}\. It must return Step\(loss, "
    assert re.match(pattern, answer.sentence), answer.sentence
    assert dfa.left() == []


@pytest.mark.parametrize(
    ("group", "before", "after"),
    [
        ("rule", "return step", "return float(step.loss), step.correct.float()"),
        ("rule", "return step", "return Step(step.loss, torch.tensor(0))"),
        ("rule", "return step", "return Step(step.loss, 0.7 * step.correct + 0.3 * 200)"),
        ("device", "return out", "return out.double()"),
    ],
)
def test_what_works_is_not_refused(
    group: str, before: str, after: str, dfa: Dfa, request: pytest.FixtureRequest
) -> None:
    name = name_of(request)
    text = {"rule": RULE, "device": DEVICE}[group]
    words = words_for(dfa, group, text.replace(f"{before}\n", f"{after}\n"), name)
    assert dfa.train(*words).code == 0


def test_another_exception_is_told_as_it_is(dfa: Dfa, request: pytest.FixtureRequest) -> None:
    """A rule of the user's own may take from a model in training what evaluation does not."""
    name = name_of(request)
    pair = FORWARD.replace("return out", "return (out, out) if self.training else out")
    rule = RULE.replace("Own", "Pair").replace("model(batch)", "model(batch)[0]")
    failing = rule.replace("return step", "return step if self.steps < 3 else 1 / 0")
    words = words_for(dfa, "model", MODEL + pair + failing, name)
    (dfa.root / "mine" / "rule").mkdir()
    (dfa.root / "mine" / "rule" / "pair.yaml").write_text(f"_target_: {name}.Pair\nneeds: nothing\n")
    answer = dfa.train(*words, "rule=pair")
    assert answer.code == 1
    assert " raised ZeroDivisionError: division by zero. " in answer.sentence
