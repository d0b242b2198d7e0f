"""An import of the user's own that must fail is told before the run, with what was meant."""

from __future__ import annotations

import pytest
from program import Dfa

OWN = "from dfa_cli.rules import Backpropagation\nclass Own(Backpropagation):\n    pass\n"
# case -> the first line of the file, and the sentence
REFUSED = {
    "a module of dfa": (
        "from dfa_cli.ruels import Backpropagation",
        "dfa_cli has no module ruels (did you mean rules?).",
    ),
    "a module inside one": (
        "import dfa_cli.training.lop",
        "dfa_cli.training has no module lop (did you mean loop?).",
    ),
    "a name of dfa": (
        "from dfa_cli.rules import Step, Bakpropagation",
        "dfa_cli.rules has no Bakpropagation (did you mean Backpropagation?).",
    ),
    "a dot": (
        "from .beside_dot import x as y",
        "`from .beside_dot import x as y` is for a package, and NAME.py lies in none. "
        "Type `from beside_dot import x as y`.",
    ),
    "a dot alone": (
        "from . import beside_dot",
        "`from . import beside_dot` is for a package, and NAME.py lies in none. Type `import beside_dot`.",
    ),
    "a name of Python's own": (
        "from statistics import of_mine",
        "Python takes another module statistics, which has no of_mine, in place of mine/statistics.py. "
        "Rename the file.",
    ),
    "a name of a package": (
        "from yaml.of_mine import x",
        "Python takes another module yaml, which has no of_mine, in place of mine/yaml/__init__.py. Rename the file.",
    ),
}
WORKS = {
    "modules and names of dfa": "from dfa_cli import rules, compare_table\nfrom dfa_cli.rules import *\n"
    "import dfa_cli.rules.dfa\nfrom dfa_cli.errors import DfaError\nfrom dfa_cli.models import base, Block",
    "names that every module has": "from dfa_cli.rules import __file__",
    "a name that Python's module has": "from statistics import mean",
    "the module itself": "import statistics\nassert not hasattr(statistics, 'of_mine')",
    "dots in a package": "from parts_with_dots import x",
}
WORDS = ("data=digits", "tuned=none", "model.hidden=[8]", "epochs=1", "progress=none", "rule=own")


def write(dfa: Dfa, name: str, text: str) -> list[str]:
    mine = dfa.root / "mine"
    (mine / "rule").mkdir(parents=True)
    (mine / "yaml").mkdir()
    (mine / "parts_with_dots").mkdir()
    for file, content in {
        f"{name}.py": text,
        "rule/own.yaml": f"_target_: {name}.Own\nneeds: nothing\n",
        "beside_dot.py": "x = 1\n",
        "statistics.py": "def of_mine():\n    pass\n",
        "yaml/__init__.py": "",
        "yaml/of_mine.py": "x = 1\n",
        "parts_with_dots/__init__.py": "from .one import x\nfrom . import one\n",
        "parts_with_dots/one.py": "x = 1\n",
    }.items():
        (mine / file).write_text(content)
    return ["--config-dir", "mine", *WORDS]


@pytest.fixture(autouse=True)
def beside_the_folder(dfa: Dfa, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(dfa.root)


@pytest.mark.parametrize("case", REFUSED)
def test_an_import_that_must_fail(case: str, dfa: Dfa) -> None:
    line, sentence = REFUSED[case]
    name = f"importing_{list(REFUSED).index(case)}"
    answer = dfa.train(*write(dfa, name, f"\n{line}\n{OWN}"))
    assert answer.code == 2, answer.err
    assert answer.sentence == f"error: mine/{name}.py, line 2: {sentence.replace('NAME', name)}"
    assert dfa.left() == []


@pytest.mark.parametrize("case", WORKS)
def test_an_import_that_works(case: str, dfa: Dfa) -> None:
    answer = dfa.train(*write(dfa, f"imported_{list(WORKS).index(case)}", f"{WORKS[case]}\n{OWN}"))
    assert answer.code == 0, answer.err


def test_a_class_in_a_file_that_another_module_hides(dfa: Dfa) -> None:
    words = write(dfa, "hidden", OWN)
    (dfa.root / "mine" / "statistics.py").write_text(OWN)
    (dfa.root / "mine" / "rule" / "own.yaml").write_text("_target_: statistics.Own\nneeds: nothing\n")
    assert dfa.train(*words).sentence == (
        "error: mine/rule/own.yaml, line 1: statistics.Own cannot be imported: Python takes another module statistics, "
        "which has no Own, in place of mine/statistics.py. Rename the file."
    )
    assert dfa.left() == []


def test_what_only_the_run_asks_of_a_hidden_file(dfa: Dfa) -> None:
    text = OWN.replace("pass", "def backward(self, model, batch):\n        return statistics.of_mine()")
    answer = dfa.train(*write(dfa, "asking", f"import statistics\n{text}"))
    assert answer.code == 1
    assert answer.sentence.startswith("error: mine/asking.py, line 5, `return statistics.of_mine()` raised ")
    assert (
        " Python takes another module statistics, which has no of_mine, in place of mine/statistics.py. Rename"
    ) in answer.sentence
