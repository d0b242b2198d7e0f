"""A mistake in a class of the user's own is one sentence with the lines of that class, and run.log has the rest."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from program import Dfa

HEAD = (
    "from dfa_cli.models import Block, Linear, Model\n"
    "from dfa_cli.rules import DirectFeedbackAlignment, loss_and_error\n"
)
RULE = """class Own:
    def prepare(self, model, classes, device, compute):
        pass
    def backward(self, model, batch):
        logits = model(batch)
        step, error = loss_and_error(logits, batch.targets)
        logits.backward(error)
        return step
"""
# The class is in line 3 of its file, and `backward` begins in line 6.
# case -> the group, the text of the class, and the answer after `error: `
REFUSED: dict[str, tuple[str, str, str]] = {
    "no prepare": (
        "rule",
        RULE.replace("prepare", "prepair"),
        "Own (mine/code_0.py, line 3) has no method prepare; it is called as prepare(model, classes, device, compute).",
    ),
    "another prepare": (
        "rule",
        RULE.replace("model, classes, device, compute", "model"),
        "Own (mine/code_1.py, line 3) has prepare(model), and it is called as prepare(model, classes, device, compute)",
    ),
    "no step": (
        "rule",
        RULE.replace("        return step\n", ""),
        "Own (mine/code_2.py, line 3): backward returned nothing. It must return Step(loss, correct) of dfa_cli.rules",
    ),
    "the loss alone": (
        "rule",
        RULE.replace("return step", "return step.loss"),
        "Own (mine/code_3.py, line 3): backward returned Tensor. It must return Step(loss, correct)",
    ),
    "a state of numbers": (
        "rule",
        RULE
        + "    def state_dict(self):\n        return {'n': 1}\n    def load_state_dict(self, state):\n        pass\n",
        "Own (mine/code_4.py, line 3): state_dict must return a dictionary of tensors",
    ),
    "a network that is no model": (
        "model",
        "from torch import nn\nclass Own(nn.Module):\n    def __init__(self, sizes):\n        super().__init__()\n",
        "model=own has no list `blocks`, which training needs: the outputs of its blocks, in order. Derive its class "
        "from dfa_cli.models.Model, and hand the blocks to its constructor: super().__init__(blocks).",
    ),
    "a layer for a block": (
        "model",
        "class Own(Model):\n    def __init__(self, sizes):\n"
        "        super().__init__([Linear(sizes.features, sizes.classes, None)])\n",
        "model=own: block 1 is a Linear, which has no layer and no width. A block is a layer with an activation: hand "
        "dfa_cli.models.Block(layer, width, activation) to the constructor of Model.",
    ),
    "a device that does not project": (
        "device",
        "class Own:\n    def prepare(self, classes, columns, compute):\n        pass\n",
        "Own (mine/code_7.py, line 3) has no method project; it is called as project(error).",
    ),
    "no data": (
        "data",
        "class Own:\n    def load(self, source):\n        pass\n",
        "code_8.Own: load returned NoneType, and it must return a dfa_cli.data.Data.",
    ),
    "no Python": (
        "rule",
        "class Own:\n    def prepare(self:\n",
        "mine/code_9.py, line 4: Python cannot read `def prepare(self:`:",
    ),
    "an import that is not there": (
        "rule",
        "import torhc\n" + RULE,
        "mine/code_10.py, line 3: Python finds no module torhc (did you mean torch?); install it",
    ),
}
# What only shows when the code runs: the answer, and then where the whole traceback is
RAISED: dict[str, tuple[str, str, str]] = {
    "an exception": (
        "rule",
        RULE.replace("        logits.backward(error)\n", "        self.help(logits)\n")
        + "    def help(self, x):\n        return x @ x\n",
        r"mine/code_11\.py, line 12, `return x @ x`, called by mine/code_11\.py, line 9, `self\.help\(logits\)` raised "
        r"RuntimeError: mat1 and mat2 shapes cannot be multiplied .*\.",
    ),
    "a base class that is not initialised": (
        "rule",
        "class Own(DirectFeedbackAlignment):\n    def __init__(self):\n        self.mine = 1\n",
        r"Own \(mine/code_12\.py, line 3\) has no \w+, which dfa reads\. A constructor of a class that derives from "
        r"another must call super\(\).__init__\(\.\.\.\) first\.",
    ),
    "a module that is not initialised": (
        "model",
        "class Own(Model):\n    def __init__(self, sizes):\n        self.first = Linear(2, 2, None)\n",
        r"mine/code_13\.py, line 5, `self\.first = Linear\(2, 2, None\)` raised AttributeError: cannot assign .* "
        r"must call super\(\).__init__\(\.\.\.\) first\.",
    ),
    "an exit": (
        "rule",
        RULE.replace("        return step\n", "        raise SystemExit\n"),
        r"mine/code_14\.py, line 10, `raise SystemExit` raised SystemExit\.",
    ),
    "what a model says of itself": (
        "model",
        "class Own(Model):\n    widths = None\n    def __init__(self, sizes):\n"
        "        super().__init__([Block(Linear(sizes.features, sizes.classes, sizes.weights), sizes.classes)])\n",
        r"TypeError: object of type 'NoneType' has no len\(\), in dfa_cli/rules/dfa\.py, line \d+, `.*`\. The "
        r"run uses code of your own: code_15\.Own\. It may lack or return something else than dfa expects there\.",
    ),
}
NUMBERS = {case: number for number, case in enumerate([*REFUSED, *RAISED])}  # a module is imported once


def words_for(dfa: Dfa, case: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Write the class of a case. Returns the words that train with it, in the folder that holds `mine`."""
    group, text, _ = (REFUSED | RAISED)[case]
    module = f"code_{NUMBERS[case]}"
    (dfa.root / "mine" / group).mkdir(parents=True)
    (dfa.root / "mine" / f"{module}.py").write_text(HEAD + text)
    facts = {"rule": "needs: projection\n", "data": "gives: samples\n"}.get(group, "")
    (dfa.root / "mine" / group / "own.yaml").write_text(f"_target_: {module}.Own\n{facts}")
    monkeypatch.chdir(dfa.root)
    data = [] if group == "data" else ["data=digits"]
    return ["--config-dir", "mine", *data, "tuned=none", "epochs=1", "progress=none", f"{group}=own"]


@pytest.mark.parametrize("case", REFUSED)
def test_what_dfa_expects_of_a_class_is_said(case: str, dfa: Dfa, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = dfa.train(*words_for(dfa, case, monkeypatch))
    assert answer.code == 2, answer.err
    assert answer.err.count("\n") == 1
    assert answer.sentence.startswith(f"error: {REFUSED[case][2]}")
    assert dfa.left() == []


def test_rows_of_the_test_that_also_train_are_refused(dfa: Dfa, monkeypatch: pytest.MonkeyPatch) -> None:
    words = words_for(dfa, "no data", monkeypatch)
    (dfa.root / "mine" / "code_8.py").write_text(
        "import dataclasses\nfrom dfa_cli.data.digits import Digits\nclass Own(Digits):\n"
        "    def load(self, source):\n        data = super().load(source)\n"
        "        return dataclasses.replace(data, test=data.train)\n"
    )
    answer = dfa.train(*words)
    assert answer.code == 2
    assert (
        answer.sentence == "error: code_8.Own: test has a row twice, or one that another split has as well."
    )


@pytest.mark.parametrize("case", RAISED)
def test_an_exception_names_the_lines_of_the_user(
    case: str, dfa: Dfa, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = dfa.train(*words_for(dfa, case, monkeypatch))
    assert answer.code == 1, answer.err
    assert answer.err.count("\n") == 1
    found = re.fullmatch(
        rf"error: {RAISED[case][2]} The whole traceback is in (outputs/\S+run\.log)\.", answer.sentence
    )
    assert found, answer.sentence
    log = Path(found[1]).read_text()
    assert log.count("Traceback") >= 2  # of the exception, and of the sentence
    (run,) = dfa.runs()
    assert run.record["status"] == "failed"


def test_a_sweep_goes_on_after_an_exception_in_a_class(dfa: Dfa, monkeypatch: pytest.MonkeyPatch) -> None:
    words = words_for(dfa, "an exception", monkeypatch)
    answer = dfa("sweep", *dfa.arguments(*words[:-1], "rule=own,bp"))
    assert answer.code == 1
    assert "Traceback" not in answer.out + answer.err
    line = re.search(
        r"failed: .*mine/code_11\.py, line 12, `return x @ x`.* raised RuntimeError.*", answer.out
    )
    assert line, answer.out
    assert answer.out.count("raised RuntimeError") == 1, "the line of the job has the beginning only"
    assert sorted(run.record["status"] for run in dfa.runs()) == ["completed", "failed"]


@pytest.mark.parametrize("launcher", [[], ["launcher=joblib"]], ids=["one process", "joblib"])
@pytest.mark.parametrize("case", ["no Python", "an import that is not there", "a misspelt class"])
def test_a_sweep_does_not_begin_with_code_that_cannot_be_imported(
    case: str, launcher: list[str], dfa: Dfa, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = words_for(dfa, case if case in NUMBERS else "no step", monkeypatch)
    says = (
        REFUSED[case][2] if case in NUMBERS else "mine/rule/own.yaml, line 1: code_2.Onw cannot be imported:"
    )
    if case not in NUMBERS:
        (dfa.root / "mine" / "rule" / "own.yaml").write_text("_target_: code_2.Onw\nneeds: nothing\n")
    answer = dfa("sweep", *dfa.arguments(*words[:-1], "rule=bp,own", *launcher))
    assert answer.code == 2
    assert answer.out == ""
    assert answer.sentence.startswith(f"error: {says}")
    assert dfa.left() == []


def test_a_search_does_not_begin_with_a_class_that_cannot_be_imported(
    dfa: Dfa, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = words_for(dfa, "no Python", monkeypatch)
    answer = dfa("sweep", *dfa.arguments(*words[:-1], "sweeper=optuna", "rule=bp,own"))
    assert answer.code == 2
    assert answer.sentence.startswith(f"error: {REFUSED['no Python'][2]}")
    assert dfa.left() == []


CERTAIN_ONLY_WHEN_RUN = {
    "a star and globals()": "from dfa_cli.rules import *\nglobals()['Onw'] = Backpropagation\n",
    "locals()": "locals()['Onw'] = Backpropagation\n",
    "a decorator": "def register(one):\n    globals()['Onw'] = one\n@register\nclass Any(Backpropagation):\n    pass\n",
    "imports that never happen": "if False:\n    import not_there\ntry:\n    import not_there\nexcept ImportError:\n"
    "    pass\nOnw = Backpropagation\n",
    "one that another module guards": "def gpu():\n    import only_on_gpu_1\nOnw = Backpropagation\n",
    "a folder": "import sys\nsys.path.append(THERE)\nimport beside_1\nOnw = Backpropagation\n",
    "a folder, once": "import sys\nif THERE not in sys.path:\n    sys.path.append(THERE)\nimport beside_2\n"
    "Onw = Backpropagation\n",
    "folders": "import sys\nfor folder in [THERE]:\n    sys.path.append(folder)\nimport beside_3\n"
    "Onw = Backpropagation\n",
    "a folder that another module adds": "import own_paths\nimport beside_4\nOnw = Backpropagation\n",
    "a stand-in": "import sys\ntry:\n    import no_such_1\nexcept ImportError:\n    sys.modules['no_such_1'] = sys\n"
    "import no_such_1\nOnw = Backpropagation\n",
}


@pytest.mark.parametrize("case", CERTAIN_ONLY_WHEN_RUN)
def test_what_only_running_shows_is_left_to_the_run(
    case: str, dfa: Dfa, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = words_for(dfa, "no step", monkeypatch)
    mine, there = dfa.root / "mine", dfa.root / "there"
    text = CERTAIN_ONLY_WHEN_RUN[case].replace("THERE", repr(str(there)))
    (mine / "code_2.py").write_text(f"from dfa_cli.rules import Backpropagation\n{text}")
    (mine / "only_on_gpu_1.py").write_text("import no_such_package\n")
    (mine / "own_paths.py").write_text(f"import sys\nsys.path.append({str(there)!r})\n")
    there.mkdir()
    for number in range(1, 5):
        (there / f"beside_{number}.py").touch()
    (mine / "rule" / "own.yaml").write_text("_target_: code_2.Onw\nneeds: nothing\n")
    monkeypatch.setattr(sys, "path", [*sys.path])
    answer = dfa.train(*words)
    assert answer.code == 0, answer.err


@pytest.mark.parametrize(
    ("method", "says"),
    [
        (
            "def backward(self, model, batch):\n        return 1 / 0",
            "there/FILE.py, line 4, `return 1 / 0` raised ZeroDivisionError: division by zero.",
        ),
        ("def backward(self", "there/FILE.py, line 3: Python cannot read `def backward(self`: "),
    ],
)
def test_an_exception_in_a_folder_that_own_code_has_added(
    method: str, says: str, dfa: Dfa, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = words_for(dfa, "no step", monkeypatch)
    late, there = f"late_{len(method)}", dfa.root / "there"
    there.mkdir()
    (there / f"{late}.py").write_text(
        f"from dfa_cli.rules import Backpropagation\nclass Own(Backpropagation):\n    {method}\n"
    )
    (dfa.root / "mine" / "code_2.py").write_text(
        f"import sys\nsys.path.append({str(there)!r})\nfrom {late} import Own\n"
    )
    answer = dfa.train(*words)
    assert answer.code == 1
    assert answer.sentence.startswith(f"error: {says.replace('FILE', late)}")
