"""Every command finds the user's own classes in the folder of `--config-dir`, in every process."""

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
# The entry point as pip writes it. Unlike `python -m` it does not put the current folder on the path.
SCRIPT = "import sys; sys.path[:] = filter(None, sys.path); from dfa_cli.cli import main; sys.argv[0] = 'dfa'; main()"


def make_plugin(dfa: Dfa, module: str, text: str | None = RULE, target: str = "Own") -> list[str]:
    """Make a folder with a rule `own` that names a class of `module`. Returns the words that add the folder."""
    folder = dfa.root / "mine"
    (folder / "rule").mkdir(parents=True)
    (folder / "rule" / "own.yaml").write_text(f"_target_: {module}.{target}\nneeds: nothing\n")
    if text is not None:
        (folder / f"{module}.py").write_text(text)
    return ["--config-dir", str(folder)]


def run_script(dfa: Dfa, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SCRIPT, *words]
    environment = {name: value for name, value in dfa.environment.items() if name != "PYTHONPATH"}
    environment |= {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_a_run_finds_the_class_and_records_its_folder(dfa: Dfa) -> None:
    words = make_plugin(dfa, "own_of_a_run")
    record = dfa.run(*words, "rule=own", *SMALL).record
    assert record["config"]["rule"]["_target_"] == "own_of_a_run.Own"
    provenance = record["provenance"]
    assert provenance["config_dir"] == str(dfa.root / "mine")
    assert shlex.split(provenance["command"])[:5] == ["dfa", "train", *words, f"outputs={dfa.outputs}"]
    assert "config_dir" not in dfa.run("rule=bp", *SMALL).record["provenance"]


def test_rerun_finds_the_class_in_the_folder_that_is_named(dfa: Dfa, tmp_path: Path) -> None:
    run = dfa.run(*make_plugin(dfa, "own_of_a_rerun"), "rule=own", *SMALL)
    sys.modules.pop("own_of_a_rerun")
    (tmp_path / "elsewhere").mkdir()
    again = ["rerun", run.record["id"], str(dfa.outputs), "--outputs", str(dfa.root / "again")]
    refused = run_script(dfa, *again, cwd=tmp_path / "elsewhere")
    assert refused.returncode == 2
    assert "uses code that is no part of dfa: own_of_a_rerun.Own" in refused.stderr
    again += ["--config-dir", str(dfa.root / "mine")]
    done = run_script(dfa, *again, cwd=tmp_path / "elsewhere")
    assert done.returncode == 0, done.stderr
    assert "the metrics match exactly, in 2 epochs" in done.stdout
    (path,) = (dfa.root / "again").rglob("run.json")
    assert json.loads(path.read_text())["provenance"]["config_dir"] == str(dfa.root / "mine")


def test_resume_finds_the_class_in_the_folder_that_is_named(
    dfa: Dfa, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = RULE + (
        "    def backward(self, model, batch):\n"
        "        import os\n"
        "        if 'FAILS' in os.environ:\n"
        "            raise ArithmeticError('as asked')\n"
        "        return super().backward(model, batch)\n"
    )
    words = make_plugin(dfa, "own_of_a_resume", text)
    monkeypatch.setenv("FAILS", "yes")
    assert "raised ArithmeticError: as asked." in dfa.train(*words, "rule=own", *SMALL).sentence
    monkeypatch.delenv("FAILS")
    sys.modules.pop("own_of_a_resume")
    answer = dfa("resume", "last", str(dfa.outputs), "--from-start", *words)
    assert answer.code == 0, answer.err
    (run,) = dfa.runs()
    assert run.record["status"] == "completed"


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher", [[], ["launcher=joblib", "launcher.n_jobs=2"]], ids=["one process", "joblib"]
)
def test_the_jobs_of_a_sweep_find_the_class(dfa: Dfa, launcher: list[str]) -> None:
    words = make_plugin(dfa, "own_of_a_sweep")
    done = run_script(
        dfa, "sweep", *words, *dfa.arguments(*SMALL, "rule=own,bp", "seed=0,1", *launcher), cwd=dfa.root
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [run.record["provenance"]["config_dir"] for run in dfa.runs()] == [words[1]] * 4
    assert len({run.record["result"]["last_train_loss"] for run in dfa.runs()}) == 2


@pytest.mark.parametrize("command", ["train", "sweep"])
def test_a_missing_module_is_reported_before_any_folder_is_made(dfa: Dfa, command: str) -> None:
    """Neither a run nor a sweep looks for modules in the current folder."""
    words = make_plugin(dfa, "own_elsewhere", text=None)
    (dfa.root / "own_elsewhere.py").write_text(RULE)
    done = run_script(dfa, command, *words, *dfa.arguments(*SMALL, "rule=own"), cwd=dfa.root)
    assert done.returncode == 2
    assert done.stderr == (
        "error: rule=own: Python finds no module own_elsewhere for own_elsewhere.Own; put own_elsewhere.py into the "
        "folder that --config-dir names, install it, or name its folder in PYTHONPATH.\n"
    )
    assert not dfa.outputs.exists()


def test_a_missing_class_is_one_sentence(dfa: Dfa) -> None:
    answer = dfa.train(*make_plugin(dfa, "own_but_misspelt", target="Onw"), "rule=own", *SMALL)
    assert answer.code == 2
    assert answer.sentence == (
        f"error: {dfa.root}/mine/rule/own.yaml, line 1: own_but_misspelt.Onw cannot be imported: own_but_misspelt has "
        "no Onw (did you mean Own?)."
    )
    assert dfa.folders() == []


def test_a_missing_class_within_a_group_is_one_sentence(dfa: Dfa) -> None:
    answer = dfa.train("model=sage", "data=digits_graph", "model.conv._target_=torch_geometric.nn.Nope")
    assert answer.code == 2
    assert answer.sentence == (
        "error: torch_geometric.nn.Nope cannot be imported: torch_geometric.nn has no Nope."
    )


@pytest.mark.slow
def test_a_file_beside_the_class_never_hides_another_module(dfa: Dfa) -> None:
    """This holds for files in the folder, given by a relative path, and for files in the current folder."""
    make_plugin(dfa, "own_among_others")
    for folder in (dfa.root, dfa.root / "mine"):
        (folder / "queue.py").write_text("raise ImportError('the wrong queue')\n")
        (folder / "scipy.py").write_text("raise ImportError('the wrong scipy')\n")
    words = ["--config-dir", "mine", *dfa.arguments(*SMALL, "rule=own")]
    done = run_script(dfa, "sweep", *words, cwd=dfa.root)
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = dfa.runs()
    assert run.record["provenance"]["config_dir"] == str(dfa.root / "mine")
