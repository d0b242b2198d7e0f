"""The code of the user's own, and the data, belong to the result: a change of them is never overlooked."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from program import Dfa, Run

from dfa_cli.config.own_code import MAX_COPY_BYTES, OwnCode, find_own_code, import_exactly
from dfa_cli.errors import DfaError
from dfa_cli.machine import provenance
from dfa_cli.sweeps.specs import read_code, write_code

RULE = """
from {package}.middle import FACTOR
from dfa_cli.rules import Backpropagation

class Mine(Backpropagation):
    def backward(self, model, batch):
        result = super().backward(model, batch)
        for parameter in model.parameters():
            parameter.grad.mul_(FACTOR)
        return result
"""
SMALL = ("data=digits", "model.hidden=[8]", "device=cpu", "epochs=2", "optimizer=sgd")


class Own:
    """A folder for `--config-dir` with a rule of three modules. The names of the modules are those of this test."""

    def __init__(self, dfa: Dfa, name: str):
        self.folder, self.name = dfa.root / "own", name
        (self.folder / "rule").mkdir(parents=True)
        (self.folder / f"{name}_parts").mkdir()
        (self.folder / "rule" / "mine.yaml").write_text(f"{{_target_: {name}.Mine, needs: nothing}}")
        (self.folder / f"{name}.py").write_text(RULE.format(package=f"{name}_parts"))
        (self.folder / f"{name}_parts" / "__init__.py").touch()
        (self.folder / f"{name}_parts" / "middle.py").write_text("from .deep import FACTOR")
        self.edit("FACTOR = 1.0")

    @property
    def deep(self) -> Path:
        return self.folder / f"{self.name}_parts" / "deep.py"

    @property
    def words(self) -> list[str]:
        return ["--config-dir", str(self.folder)]

    def edit(self, text: str) -> None:
        self.deep.write_text(text)


def sweep(dfa: Dfa, own: Own, *words: str) -> str:
    answer = dfa("sweep", *own.words, *dfa.arguments(*SMALL, "rule=mine", *words))
    assert answer.code == 0, answer
    return answer.out


def test_an_edit_two_imports_away_runs_the_jobs_again_and_makes_another_row(dfa: Dfa) -> None:
    own = Own(dfa, "edited")
    sweep(dfa, own, "seed=0,1")
    assert "2 reused; 0 to run" in sweep(dfa, own, "seed=0,1")
    own.edit("FACTOR = -1.0")
    for more in (["--dry-run"], []):
        out = sweep(dfa, own, "seed=0,1,2", *more)
        assert "sweep of 3 jobs; 3 to run" in out
        assert "2 jobs run again, because the code has changed: edited_parts/deep.py" in out
    rows = dfa("compare", str(dfa.outputs), "--format", "csv").out.splitlines()
    code = rows[0].split(",").index("code")
    assert len({row.split(",")[code] for row in rows[1:]}) == len(rows[1:]) == 2
    own.edit("FACTOR = 1.0")
    assert "2 reused; 0 to run" in sweep(dfa, own, "seed=0,1")


def test_diff_names_the_file_of_ones_own_that_differs(dfa: Dfa) -> None:
    own = Own(dfa, "differing")
    first = dfa.run(*own.words, *SMALL, "rule=mine")
    own.edit("FACTOR = -1.0")
    second = dfa.run(*own.words, *SMALL, "rule=mine")
    sums = [run.record["code"]["files"]["differing_parts/deep.py"][:8] for run in (first, second)]
    answer = dfa("diff", first.record["id"], second.record["id"], str(dfa.outputs)).out
    assert re.search(rf"code: differing_parts/deep.py +{sums[0]} +{sums[1]}\n", answer)
    assert "middle.py" not in answer


def test_a_changed_comment_is_changed_code(dfa: Dfa) -> None:
    own = Own(dfa, "commented")
    sweep(dfa, own)
    own.edit("FACTOR = 1.0  # one")
    assert "1 to run" in sweep(dfa, own)


def test_the_code_is_named_in_the_record_and_kept(dfa: Dfa) -> None:
    own = Own(dfa, "kept")
    run = dfa.run(*own.words, *SMALL, "rule=mine")
    files = run.record["code"]["files"]
    assert set(files) == {"kept.py", "kept_parts/__init__.py", "kept_parts/middle.py", "kept_parts/deep.py"}
    assert (dfa.outputs / ".code" / files["kept_parts/deep.py"]).read_text() == "FACTOR = 1.0"
    assert "code" not in dfa.run(*SMALL, "rule=bp").record
    packages = (run.folder / "packages.txt").read_text().splitlines()
    assert any(line.startswith("torch==") for line in packages)


def test_rerun_names_the_file_that_changed_with_both_checksums(dfa: Dfa) -> None:
    own = Own(dfa, "repeated")
    run = dfa.run(*own.words, *SMALL, "rule=mine")
    again = ["rerun", run.record["id"], str(dfa.outputs), "--outputs", str(dfa.root / "again"), *own.words]
    assert "the metrics match exactly" in dfa(*again).out
    own.edit("FACTOR = -1.0")
    answer = dfa(*again)
    assert answer.code == 1
    before = run.record["code"]["files"]["repeated_parts/deep.py"][:8]
    assert f"code of your own: repeated_parts/deep.py {before} before, " in answer.out
    assert "this is a bug" not in answer.out


def test_resume_refuses_to_go_on_with_other_code(dfa: Dfa) -> None:
    own = Own(dfa, "resumed")
    run = dfa.run(*own.words, *SMALL, "rule=mine")
    (run.folder / "checkpoint.safetensors").write_bytes(b"")
    record = {**run.record, "status": "interrupted"}
    run.rewrite(record)
    own.edit("FACTOR = 2.0")
    answer = dfa("resume", str(run.folder), *own.words)
    assert answer.code == 2
    assert "was begun with other code: resumed_parts/deep.py " in answer.sentence
    assert dfa("resume", str(run.folder), "--from-start", *own.words).code == 0
    assert run.record["code"]["files"] != record["code"]["files"]


def test_a_record_from_elsewhere_executes_nothing(dfa: Dfa, tmp_path: Path) -> None:
    run = dfa.run(*SMALL, "rule=bp")
    strange = tmp_path / "strange_folder"
    strange.mkdir()
    (strange / "strange.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\nclass Rule: pass")
    for node in (
        {"_target_": "strange.Rule", "needs": "nothing"},
        {"_target_": "os.system", "command": f"touch {tmp_path / 'executed'}", "needs": "nothing"},
        {"_target_": "dfa_cli.machine.files.shutil.rmtree", "path": "/nowhere", "needs": "nothing"},
        {
            "_target_": "dfa_cli.rules.Backpropagation",
            "x": [{"_target_": "strange.Rule"}],
            "needs": "nothing",
        },
    ):
        record = run.record
        record["config"]["rule"] = node
        record["provenance"]["config_dir"] = str(strange)
        run.rewrite(record)
        for words in ([], ["--trust"]):
            answer = dfa("rerun", str(run.folder), "--outputs", str(tmp_path / "again"), *words)
            assert answer.code == 2, answer
            named = "strange.Rule" if "x" in node else str(node["_target_"])
            assert named in answer.err
            assert ("give --trust" in answer.sentence) == (not words)
            assert ("no terminal to ask" in answer.sentence) == bool(words)
    assert not (tmp_path / "executed").exists()
    assert "strange" not in sys.modules


def test_text_of_a_record_is_never_an_interpolation(dfa: Dfa, tmp_path: Path) -> None:
    run = dfa.run(*SMALL, "rule=bp")
    record = run.record
    call = f"_target_: shutil.copy, src: /etc/hostname, dst: {tmp_path / 'copied'}"
    record["config"]["rule"]["x"] = f'${{oc.create:"{{{call}}}"}}'
    run.rewrite(record)
    answer = dfa("rerun", str(run.folder), "--outputs", str(tmp_path / "again"))
    assert answer.code == 2
    assert "holds the text ${, which Hydra takes for an interpolation" in answer.sentence
    assert not (tmp_path / "copied").exists()


def test_a_folder_that_is_named_gives_its_own_classes_and_not_what_they_import(
    dfa: Dfa, tmp_path: Path
) -> None:
    own = Own(dfa, "named")
    (own.folder / "named.py").write_text(
        "import shutil\nfrom shutil import rmtree\n" + RULE.format(package="named_parts")
    )
    run = dfa.run(*own.words, *SMALL, "rule=mine")
    for target in ("named.shutil.rmtree", "named.rmtree", "named_parts.middle.FACTOR"):
        record = run.record
        record["config"]["rule"]["_target_"] = target
        run.rewrite(record)
        answer = dfa("rerun", str(run.folder), "--outputs", str(tmp_path / "again"), *own.words)
        assert answer.code == 2
        assert f"no part of dfa: {target}. " in answer.sentence


def test_what_the_yaml_of_a_named_folder_names_is_imported(dfa: Dfa, tmp_path: Path) -> None:
    own = Own(dfa, "handed")
    (own.folder / "handed_on.py").write_text("from handed import Mine as Renamed\nShort = Renamed")
    (own.folder / "rule" / "mine.yaml").write_text("{_target_: handed_on.Short, needs: nothing}")
    run = dfa.run(*own.words, *SMALL, "rule=mine")
    answer = dfa("rerun", str(run.folder), "--outputs", str(tmp_path / "again"), *own.words)
    assert (answer.code, "match exactly" in answer.out) == (0, True), answer
    (own.folder / "rule" / "mine.yaml").write_text("# {_target_: handed_on.Short, needs: nothing}")
    answer = dfa("rerun", str(run.folder), "--outputs", str(tmp_path / "again"), *own.words)
    assert answer.code == 2
    assert "No file of " in answer.sentence


def test_modules_that_a_library_writes_are_no_own_code(dfa: Dfa) -> None:
    words = ["data=digits_graph", "model=gat", "model.hidden=[4]", "device=cpu", "epochs=1", "rule=bp"]
    assert "code" not in dfa.run(*words).record


def test_folders_without_init_are_packages_too(dfa: Dfa) -> None:
    own = Own(dfa, "spaces")
    (own.folder / "spaces_parts" / "__init__.py").unlink()
    (own.folder / "spaces_parts" / "sub").mkdir()
    own.edit("from .sub.end import FACTOR")
    (own.folder / "spaces_parts" / "sub" / "end.py").write_text("FACTOR = 1.0")
    files = dfa.run(*own.words, *SMALL, "rule=mine").record["code"]["files"]
    assert set(files) == {
        "spaces.py",
        "spaces_parts/middle.py",
        "spaces_parts/deep.py",
        "spaces_parts/sub/end.py",
    }


def test_a_module_that_was_imported_before_runs_with_the_code_that_is_recorded(
    dfa: Dfa, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Own(dfa, "before")
    monkeypatch.syspath_prepend(str(own.folder))
    __import__("before")
    first = dfa.run(*own.words, *SMALL, "rule=mine")
    own.edit("FACTOR = -1.0")
    second = dfa.run(*own.words, *SMALL, "rule=mine")
    assert first.record["code"] != second.record["code"]
    assert first.metrics[-1]["train_loss"] != second.metrics[-1]["train_loss"]


def test_a_search_does_not_go_on_with_trials_of_other_code(dfa: Dfa) -> None:
    pytest.importorskip("optuna")
    own = Own(dfa, "searched")
    words = ["sweeper=optuna", "sweeper.n_trials=1", "optimizer.lr=interval(0.001,0.01)"]
    assert "0 of 1 trials are there, 1 to run" in sweep(dfa, own, *words)
    assert "1 of 1 trials are there, 0 to run" in sweep(dfa, own, *words)
    own.edit("FACTOR = 0.5")
    assert "0 of 1 trials are there, 1 to run" in sweep(dfa, own, *words)


def test_an_error_in_the_users_module_is_told_with_its_line(dfa: Dfa) -> None:
    own = Own(dfa, "wrong")
    own.edit("FACTOR = 1 / 0")
    answer = dfa.train(*own.words, *SMALL, "rule=mine")
    assert answer.code == 1
    assert "deep.py, line 1, `FACTOR = 1 / 0`, called by " in answer.sentence
    assert " raised ZeroDivisionError: division by zero. " in answer.sentence


def test_a_job_of_a_sweep_records_no_code_that_only_the_job_before_has_imported(dfa: Dfa) -> None:
    own = Own(dfa, "jobs")
    (own.folder / "model").mkdir()
    keys = "hidden: [8], activation: tanh, dropout: 0.0, input_dropout: 0.0"
    (own.folder / "model" / "net.yaml").write_text(f"{{_target_: jobs_net.Net, {keys}}}")
    (own.folder / "jobs_net.py").write_text(
        "from dfa_cli.models import FullyConnected\n\nclass Net(FullyConnected):\n    pass\n"
    )
    sweep(dfa, own, "model=net", "rule=mine,bp", "seed=0,1")
    codes = [Run(folder).record["code"] for folder in dfa.folders()]
    parts = {f"jobs_parts/{name}.py" for name in ("__init__", "middle", "deep")}
    assert sorted(len(code["files"]) for code in codes) == [1, 1, 5, 5]
    assert all(set(code["files"]) in ({"jobs_net.py"}, {"jobs_net.py", "jobs.py"} | parts) for code in codes)
    assert not any("late" in code for code in codes)


def test_a_module_that_only_running_shows_is_recorded_after_the_run(dfa: Dfa) -> None:
    own = Own(dfa, "late")
    (own.folder / "late_hidden.py").write_text("FACTOR = 1.0")
    own.edit("import importlib\nFACTOR = importlib.import_module('late_' + 'hidden').FACTOR")
    code = dfa.run(*own.words, *SMALL, "rule=mine").record["code"]
    assert "late_hidden.py" not in code["files"]
    assert list(code["late"]) == ["late_hidden.py"]
    (own.folder / "late_hidden.py").write_text("FACTOR = 2.0")
    sys.modules.pop("late_hidden")
    dfa.run(*own.words, *SMALL, "rule=mine")
    heading, *rows = csv.DictReader(dfa("compare", str(dfa.outputs), "--format", "csv").out.splitlines())
    assert [row["n"] for row in (heading, *rows)] == ["1", "1"]  # neither run counts in place of the other
    assert heading["code"] != rows[0]["code"]


def test_runs_with_a_convolution_of_ones_own_have_equal_code(dfa: Dfa) -> None:
    """torch_geometric writes a module with a random name for it."""
    own = Own(dfa, "convolving")
    (own.folder / "model").mkdir()
    (own.folder / "model" / "mysage.yaml").write_text(
        "defaults: [sage, _self_]\nconv: {_target_: own_convolution.Own}\n"
    )
    (own.folder / "own_convolution.py").write_text(
        "from torch_geometric.nn import SAGEConv\n"
        "class Own(SAGEConv):\n"
        "    def message(self, x_j):\n"
        "        return x_j\n"
    )
    words = ("model=mysage", "data=digits_graph", "model.hidden=[4]", "epochs=1", "progress=none")
    run = dfa.run(*own.words, *words)
    assert any("own_convolution_Own_propagate" in name for name in sys.modules), "none was written"
    assert list(run.record["code"]["files"]) == ["own_convolution.py"]
    assert "late" not in run.record["code"]


def run_python(dfa: Dfa, text: str, **environment: str) -> str:
    command = [sys.executable, "-c", text]
    everything = {**os.environ, **dfa.environment, **environment}
    done = subprocess.run(command, env=everything, cwd=dfa.root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


CALL = "import sys; sys.argv = ['dfa', *{words}]; from dfa_cli.cli import main; main()"


def test_a_package_that_is_installed_in_editable_mode_is_own_code(dfa: Dfa) -> None:
    own = Own(dfa, "editable")
    site, source = dfa.root / "site-packages", dfa.root / "source"
    site.mkdir()
    own.folder.rename(source)
    (source / "rule").rename(dfa.root / "rule")
    (dfa.root / "conf").mkdir()
    (dfa.root / "rule").rename(dfa.root / "conf" / "rule")
    (site / "__editable__.editable-1.0.pth").write_text(str(source))
    words = ["sweep", "--config-dir", str(dfa.root / "conf"), *dfa.arguments(*SMALL, "rule=mine")]
    text = f"import site; site.addsitedir({str(site)!r}); " + CALL.format(words=words)
    assert "1 to run" in run_python(dfa, text)
    assert "1 reused; 0 to run" in run_python(dfa, text)
    (source / "editable_parts" / "deep.py").write_text("FACTOR = 3.0")
    assert "1 to run" in run_python(dfa, text)


def test_a_class_of_a_notebook_is_recorded_as_code_without_a_file(dfa: Dfa) -> None:
    words = [*SMALL, "rule=bp", "rule._target_=__main__.Mine", f"outputs={dfa.outputs}", "progress=none"]
    run_python(
        dfa,
        f"""
from pathlib import Path
from dfa_cli.config.compose import compose_run
from dfa_cli.launch.task import run_spec
from dfa_cli.rules import Backpropagation
class Mine(Backpropagation):
    pass
folder = Path({str(dfa.outputs / "run")!r})
folder.mkdir(parents=True)
run_spec(compose_run({words}), folder)
""",
    )
    assert Run(dfa.outputs / "run").record["code"]["files"] == {"__main__ (no file)": None}


def test_a_sweep_runs_the_code_that_it_began_with(dfa: Dfa, monkeypatch: pytest.MonkeyPatch) -> None:
    own = Own(dfa, "begun")
    monkeypatch.syspath_prepend(str(own.folder))
    config = {"rule": {"_target_": "begun.Mine"}}
    code = find_own_code(config)
    path = write_code(dfa.root / "top", dfa.outputs, code)
    own.edit("FACTOR = 9.0")
    (own.folder / "begun.py").unlink()
    read = read_code(path, dfa.outputs)
    assert read.checksums == code.checksums
    import_exactly(read.used_by(config))
    try:
        module = __import__("begun")
        assert module.FACTOR == 1.0
        assert module.__file__ == str(own.folder / "begun.py")
    finally:
        import_exactly(OwnCode())
    copy = dfa.outputs / ".code" / str(code.checksums["begun_parts/deep.py"])
    copy.write_text("FACTOR = 7.0")  # a copy is checked before it is executed
    with pytest.raises(
        DfaError, match=r"deep\.py has changed since the run was planned \(checksum \w{8} then, \w{8} now\)"
    ):
        OwnCode.from_copies(code.as_json(), dfa.outputs)


def test_a_file_that_is_too_large_has_no_copy_but_a_checksum(
    dfa: Dfa, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Own(dfa, "large")
    monkeypatch.syspath_prepend(str(own.folder))
    own.edit("FACTOR = 1.0\n" + "#" * MAX_COPY_BYTES)
    code = find_own_code({"rule": {"_target_": "large.Mine"}})
    code.keep(dfa.outputs)
    copies = {path.name for path in (dfa.outputs / ".code").iterdir()}
    assert {file for file, name in code.checksums.items() if name not in copies} == {"large_parts/deep.py"}
    assert OwnCode.from_copies(code.as_json(), dfa.outputs).checksums == code.checksums
    own.edit("FACTOR = 2.0")
    with pytest.raises(DfaError, match="no copy of it can be imported"):
        OwnCode.from_copies(code.as_json(), dfa.outputs)


def test_a_job_is_not_begun_with_another_commit_than_its_sweep(
    dfa: Dfa, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_code(dfa.root / "top", dfa.outputs, OwnCode())
    then = provenance.code_state()["commit"]
    monkeypatch.setattr("dfa_cli.sweeps.specs.code_state", lambda: {"commit": "f" * 40, "dirty": False})
    read_code.cache_clear()
    with pytest.raises(
        DfaError, match=f"has changed since this sweep began: commit {str(then)[:10]}.* then, commit ff"
    ):
        read_code(path, dfa.outputs)


def test_runs_of_another_commit_are_reused_with_a_word_or_run_again(dfa: Dfa) -> None:
    words = [*SMALL, "rule=bp"]
    assert dfa("sweep", *dfa.arguments(*words, "seed=0")).code == 0
    (run,) = dfa.runs()
    record = run.record
    record["provenance"]["git"] = {"commit": "4af7c01" + "0" * 33, "dirty": False}
    record["provenance"]["versions"]["torch"] = "2.12.0"
    run.rewrite(record)
    out = dfa("sweep", *dfa.arguments(*words, "seed=0,1")).out
    assert "sweep of 2 jobs, 1 reused; 1 to run" in out
    assert "1 reused, made by commit 4af7c01, torch 2.12.0 (now commit " in out
    note = dfa("compare", str(dfa.outputs)).out
    assert "Made by more than one version of the code: " in note
    assert "torch 2.12.0" in note
    out = dfa("sweep", *dfa.arguments(*words, "seed=0,1", "reuse=strict")).out
    assert "sweep of 2 jobs, 1 reused; 1 to run" in out
    assert "1 job run again, because the version has changed: commit 4af7c01, torch 2.12.0 before" in out
    assert "reuse=strict runs such jobs again" not in out
    assert dfa("sweep", *dfa.arguments(*words, "reuse=maybe")).sentence.endswith("true, false or strict.")


DATA = """
import hashlib
from pathlib import Path
from dfa_cli.data import Digits

class Measured(Digits):
    def load(self, source):
        import dataclasses
        content = Path(__file__).with_name("measured.csv").read_bytes()
        return dataclasses.replace(
            super().load(source), checksums={"measured.csv": hashlib.sha256(content).hexdigest()}
        )
"""


def test_a_changed_file_of_the_data_is_never_reused_and_makes_another_row(dfa: Dfa) -> None:
    folder = dfa.root / "own"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "measured.yaml").write_text("{_target_: own_data.Measured, gives: samples}")
    (folder / "own_data.py").write_text(DATA)
    (folder / "measured.csv").write_text("1")
    words = ["--config-dir", str(folder), *dfa.arguments(*SMALL[1:], "data=measured", "rule=bp")]
    for content, said in (("1", "1 to run"), ("1", "1 reused; 0 to run"), ("2", "1 to run")):
        (folder / "measured.csv").write_text(content)
        answer = dfa.process("sweep", *words)
        assert answer.code == 0, answer
        assert said in answer.out
        assert ("1 job run again, because the data set has changed: measured.csv" in answer.out) == (
            content == "2"
        )
    table = dfa("compare", str(dfa.outputs), "--format", "csv").out.splitlines()
    assert "files" in table[0]
    assert len(table) == 3
