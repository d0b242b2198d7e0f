"""Classes of the user's own, in the folder that `--config-dir` names: found by every command, in every process."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from program import Dfa

RULE = '''
from dfa_cli.rules import Backpropagation
class Own(Backpropagation):
    """Backpropagation by another name."""
'''
SMALL = ["data=digits", "model.hidden=[8]", "device=cpu", "epochs=2"]
# as pip writes it: unlike `python -m` it does not look in the current folder
SCRIPT = "import sys; sys.path[:] = filter(None, sys.path); from dfa_cli.cli import main; sys.argv[0] = 'dfa'; main()"


def given(dfa: Dfa, module: str, text: str | None = RULE, target: str = "Own") -> list[str]:
    """A folder with a rule `own` that names a class of `module`, and the words that add it."""
    folder = dfa.root / "mine"
    (folder / "rule").mkdir(parents=True)
    (folder / "rule" / "own.yaml").write_text(f"_target_: {module}.{target}\nneeds: nothing\n")
    if text is not None:
        (folder / f"{module}.py").write_text(text)
    return ["--config-dir", str(folder)]


def script(dfa: Dfa, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SCRIPT, *words]
    environment = {name: value for name, value in dfa.environment.items() if name != "PYTHONPATH"}
    environment |= {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_a_run_finds_them_and_its_record_says_where(dfa: Dfa) -> None:
    words = given(dfa, "own_of_a_run")
    record = dfa.run(*words, "rule=own", *SMALL).record
    assert record["config"]["rule"]["_target_"] == "own_of_a_run.Own"
    provenance = record["provenance"]
    assert provenance["config_dir"] == str(dfa.root / "mine")
    assert shlex.split(provenance["command"])[:5] == ["dfa", "train", *words, f"outputs={dfa.outputs}"]
    assert "config_dir" not in dfa.run("rule=bp", *SMALL).record["provenance"]


def test_rerun_finds_them_by_the_record_alone(dfa: Dfa, tmp_path: Path) -> None:
    run = dfa.run(*given(dfa, "own_of_a_rerun"), "rule=own", *SMALL)
    sys.modules.pop("own_of_a_rerun")
    (tmp_path / "elsewhere").mkdir()
    again = ["rerun", run.record["id"], str(dfa.outputs), "--outputs", str(dfa.root / "again")]
    done = script(dfa, *again, cwd=tmp_path / "elsewhere")
    assert done.returncode == 0, done.stderr
    assert "the metrics match exactly, in 2 epochs" in done.stdout
    (path,) = (dfa.root / "again").rglob("run.json")
    assert json.loads(path.read_text())["provenance"]["config_dir"] == str(dfa.root / "mine")


def test_resume_finds_them_by_the_record_alone(dfa: Dfa, monkeypatch: pytest.MonkeyPatch) -> None:
    text = RULE + (
        "    def backward(self, model, batch):\n"
        "        import os\n"
        "        if 'FAILS' in os.environ:\n"
        "            raise ArithmeticError('as asked')\n"
        "        return super().backward(model, batch)\n"
    )
    words = given(dfa, "own_of_a_resume", text)
    monkeypatch.setenv("FAILS", "yes")
    with pytest.raises(ArithmeticError, match="as asked"):
        dfa.train(*words, "rule=own", *SMALL)
    monkeypatch.delenv("FAILS")
    sys.modules.pop("own_of_a_resume")
    answer = dfa("resume", "last", str(dfa.outputs), "--from-start")
    assert answer.code == 0, answer.err
    (run,) = dfa.runs()
    assert run.record["status"] == "completed"


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher", [[], ["launcher=joblib", "launcher.n_jobs=2"]], ids=["one process", "joblib"]
)
def test_the_jobs_of_a_sweep_find_them(dfa: Dfa, launcher: list[str]) -> None:
    words = given(dfa, "own_of_a_sweep")
    done = script(
        dfa, "sweep", *words, *dfa.arguments(*SMALL, "rule=own,bp", "seed=0,1", *launcher), cwd=dfa.root
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [run.record["provenance"]["config_dir"] for run in dfa.runs()] == [words[1]] * 4
    assert len({run.record["result"]["last_train_loss"] for run in dfa.runs()}) == 2


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_a_module_that_is_not_there_is_said_before_anything_is_made(dfa: Dfa, command: str) -> None:
    """The current folder is not looked in, by a sweep no more than by a single run."""
    words = given(dfa, "own_elsewhere", text=None)
    (dfa.root / "own_elsewhere.py").write_text(RULE)
    done = script(dfa, command, *words, *dfa.arguments(*SMALL, "rule=own"), cwd=dfa.root)
    assert done.returncode == 2
    assert done.stderr == (
        "error: rule=own: Python finds no module own_elsewhere for own_elsewhere.Own; put own_elsewhere.py into the "
        "folder that --config-dir names, install it, or name its folder in PYTHONPATH.\n"
    )
    assert not dfa.outputs.exists()


def test_a_class_that_is_not_there_is_one_sentence(dfa: Dfa) -> None:
    answer = dfa.train(*given(dfa, "own_but_misspelt", target="Onw"), "rule=own", *SMALL)
    assert answer.code == 2
    assert answer.sentence == "error: own_but_misspelt.Onw cannot be imported: own_but_misspelt has no Onw."
    assert dfa.folders() == []


def test_what_a_module_of_theirs_lacks_is_a_bug_of_its_own(dfa: Dfa) -> None:
    from hydra.errors import InstantiationException

    with pytest.raises(InstantiationException) as caught:
        dfa.train(*given(dfa, "own_with_a_bug", "import not_there_at_all\n"), "rule=own", *SMALL)
    assert "not_there_at_all" in str(caught.value.__cause__)


@pytest.mark.slow
def test_they_never_take_the_place_of_another_module(dfa: Dfa) -> None:
    """Neither one in the folder, named from where one is, nor one in the current folder."""
    given(dfa, "own_among_others")
    for folder in (dfa.root, dfa.root / "mine"):
        (folder / "queue.py").write_text("raise ImportError('the wrong queue')\n")
        (folder / "scipy.py").write_text("raise ImportError('the wrong scipy')\n")
    words = ["--config-dir", "mine", *dfa.arguments(*SMALL, "rule=own")]
    done = script(dfa, "sweep", *words, cwd=dfa.root)
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = dfa.runs()
    assert run.record["provenance"]["config_dir"] == str(dfa.root / "mine")
