"""Runs are found at any depth. Damaged, foreign and half-written folders are named and skipped."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from run_factory import Factory

from dfa_cli.comparison.grouping import newest_per_identity
from dfa_cli.errors import DfaError
from dfa_cli.machine.process import process_started
from dfa_cli.records.curves import METRICS, metrics_text, progress_of, read_curves, rows_until
from dfa_cli.records.find import find, find_some, pick_run
from dfa_cli.records.measures import DEFAULT
from dfa_cli.records.run import read_run


def test_runs_are_found_at_any_depth_newest_first(factory: Factory):
    factory.run(seed=0, folder="a")
    factory.run(seed=1, folder="deep/er/still/b")
    factory.run(seed=2, folder="a/inside_of_a_run")
    found = find([factory.root])
    assert [run.config["seed"] for run in found.runs] == [2, 1, 0]
    assert found.skipped == []


def test_a_folder_named_twice_or_linked_is_read_once(factory: Factory, tmp_path: Path):
    one = factory.run(folder="x/one")
    (factory.root / "x" / "loop").symlink_to(factory.root, target_is_directory=True)
    (tmp_path / "alias").symlink_to(one, target_is_directory=True)
    assert len(find([factory.root, factory.root / "x", one, tmp_path / "alias"]).runs) == 1


def test_damaged_and_foreign_folders_are_named_with_the_reason(factory: Factory):
    whole = factory.run(folder="whole")
    text = (whole / "run.json").read_text()

    def damaged(name: str, content: str | bytes) -> None:
        (factory.root / name).mkdir()
        path = factory.root / name / "run.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    damaged("cut", text[: len(text) // 2])
    damaged("empty", "")
    damaged("binary", b"\xff\xfe\x00\x01")
    damaged("a_list", "[1, 2]")
    damaged("another_tool", json.dumps({"id": 3, "loss": 0.1}))
    damaged("later", text.replace('"format": 1', '"format": 2'))
    damaged("no_status", json.dumps({**json.loads(text), "status": "asleep"}))
    damaged("config_is_text", json.dumps({**json.loads(text), "config": "x"}))
    damaged("no_config", json.dumps({**json.loads(text), "config": None}))
    damaged("deep", "[" * 100_000)
    (factory.root / "never_began" / ".hydra").mkdir(parents=True)
    (factory.root / "unrelated").mkdir()
    found = find([factory.root])
    assert [Path(run.folder).name for run in found.runs] == ["whole"]
    reasons = {Path(folder).name: reason for folder, reason in found.skipped}
    assert "not whole JSON" in reasons["cut"]
    assert "not whole JSON" in reasons["empty"]
    assert "not whole JSON" in reasons["binary"]
    assert "not whole JSON" in reasons["deep"]
    assert "not written by dfa" in reasons["a_list"]
    assert "not written by dfa" in reasons["another_tool"]
    assert "format 2" in reasons["later"]
    assert "status" in reasons["no_status"]
    assert "config" in reasons["config_is_text"]
    assert "config" in reasons["no_config"]
    assert "no run.json" in reasons["never_began"]
    assert "unrelated" not in reasons


def test_an_unreadable_folder_below_is_skipped_and_named(factory: Factory, monkeypatch: pytest.MonkeyPatch):
    factory.run(folder="open")
    shut = str(factory.run(folder="shut"))
    real = os.scandir

    def refuse(path: str):
        if path == shut:
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = find([factory.root])
    assert len(found.runs) == 1
    assert found.skipped == [(shut, "cannot be read (Permission denied)")]
    with pytest.raises(DfaError, match=r"cannot read the folder .*shut: Permission denied"):
        find([shut])


def test_a_folder_that_does_not_exist_is_named_in_the_error(tmp_path: Path):
    with pytest.raises(DfaError, match=r"no runs found: .*nowhere is not there"):
        find([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DfaError, match=r"no runs found in .*empty"):
        find_some([tmp_path / "empty"])


def test_a_run_whose_process_is_gone_was_killed(factory: Factory):
    living = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    base = json.loads((factory.run(folder="base") / "run.json").read_text())["provenance"]

    def status(**made_by: object) -> str:
        folder = factory.run(status="running", record={"provenance": {**base, **made_by}})
        return read_run(folder).status

    try:
        began = process_started(living.pid)
        assert status(pid=living.pid, pid_started=began) == "running"
        assert status(pid=living.pid, pid_started=None) == "running"
        assert status(pid=gone.pid, pid_started=began) == "killed"
        assert status(pid=gone.pid, pid_started=1.0, host="another-machine") == "running"
        if began is not None:  # The same pid with another start time is another process.
            assert status(pid=living.pid, pid_started=began - 500) == "killed"
    finally:
        living.communicate(b"\n")


def test_the_result_of_a_killed_run_is_that_of_its_metrics(factory: Factory):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    old = {"best_epoch": 1, "last_epoch": 1, "test_accuracy_at_best_validation": 0.1, "split": "a split"}
    made_by = json.loads((factory.run(folder="base") / "run.json").read_text())["provenance"]
    folder = factory.run(
        status="running", record={"result": old, "provenance": {**made_by, "pid": gone.pid, "pid_started": 1}}
    )
    with open(folder / METRICS, newline="") as file:
        rows = list(csv.DictReader(file))
    best = max(rows, key=lambda row: float(row["validation_accuracy"]))
    run = read_run(folder)
    assert run.status == "killed"
    assert run.result["last_epoch"] == len(rows) == 6
    assert run.result["best_epoch"] == int(best["epoch"])
    assert DEFAULT.value_of(run) == float(best["test_accuracy"])
    assert run.result["split"] == "a split"
    (folder / METRICS).write_text("epoch,mine\n1,2\n")
    assert read_run(folder).result == old


def test_curves_of_a_killed_run_lack_only_the_line_that_was_cut_short(tmp_path: Path):
    path = tmp_path / METRICS
    path.write_text("epoch,loss,alignment_1\n1,0.5,\n2,0.4,0.1\nbroken,line\n2,0.35,0.2\n3,nan,\n4,0.3,0.4")
    curves = read_curves(tmp_path)
    assert curves["epoch"] == [1, 2, 3]
    assert curves["loss"] == [0.5, 0.35, None]
    assert curves["alignment_1"] == [None, 0.2, None]
    path.write_text("epoch,lo")
    assert read_curves(tmp_path) == {}
    assert read_curves(tmp_path / "nowhere") == {}


def test_the_end_of_the_curves_is_known_without_reading_them_all(tmp_path: Path):
    path = tmp_path / METRICS
    assert progress_of(tmp_path) == (0, None)
    path.write_text("epoch,validation_accuracy,alignment_1\n")
    assert progress_of(tmp_path) == (0, None)
    lines = "".join(f"{epoch},{epoch / 1000},\n" for epoch in range(1, 801))
    path.write_text(f"epoch,validation_accuracy,alignment_1\n{lines}801,0.8")
    assert progress_of(tmp_path) == (800, 0.8)


def test_the_lines_up_to_an_epoch_are_written_back_as_they_were(tmp_path: Path):
    text = "epoch,frames,loss,alignment_1\n1,280,0.1,\n2,560,nan,0.30000000000000004\n3,840,1e-07,\n"
    (tmp_path / METRICS).write_text(text)
    assert metrics_text(rows_until(tmp_path, 3)) == text
    assert rows_until(tmp_path, 1) == [{"epoch": 1, "frames": 280, "loss": 0.1, "alignment_1": None}]
    assert rows_until(tmp_path / "nowhere", 1) == []
    assert metrics_text([]) == ""


def test_a_run_is_picked_by_path_by_the_start_of_its_id_or_as_last(factory: Factory):
    first = factory.run(seed=0, record={"id": "aa11aa11"})
    factory.run(seed=1, record={"id": "aa22aa22"})
    places = [factory.root]
    assert pick_run(str(first)).id == "aa11aa11"
    assert pick_run(str(first / "run.json")).id == "aa11aa11"
    assert pick_run("aa1", places).id == "aa11aa11"
    assert pick_run("AA1", places).id == "aa11aa11"
    assert pick_run("last", places).id == "aa22aa22"
    with pytest.raises(DfaError, match=r"'aa' is the start of 2 ids.*aa11aa11, aa22aa22"):
        pick_run("aa", places)
    with pytest.raises(DfaError, match=r"no run below .* has an id that starts with 'aa11ab11'.*aa11aa11"):
        pick_run("aa11ab11", places)
    shutil.copytree(first, factory.root / "copy")
    with pytest.raises(DfaError, match="was found 2 times; name the folder"):
        pick_run("aa11", places)


@pytest.mark.parametrize("count", [10, 40])
def test_the_work_grows_linearly_with_the_runs(factory: Factory, count: int, monkeypatch: pytest.MonkeyPatch):
    from dfa_cli.comparison.comparison import compare

    for seed in range(count):
        factory.run(seed=seed, rule=("bp", "dfa")[seed % 2])
    opened: list[str] = []
    listed: list[str] = []
    real_open, real_list = open, os.scandir
    monkeypatch.setattr(
        "builtins.open", lambda path, *a, **k: (opened.append(str(path)), real_open(path, *a, **k))[1]
    )
    monkeypatch.setattr(os, "scandir", lambda path: (listed.append(str(path)), real_list(path))[1])
    found = find([factory.root])
    compare(found.runs)
    records = [path for path in opened if path.endswith("run.json")]
    assert len(records) == count
    assert not [path for path in opened if path.endswith("metrics.csv")]
    # Listed are the runs, the day's folder, and the root twice, the first time to see whether it can be read.
    assert len(listed) == count + 3


def test_the_newest_completed_run_of_an_identity_is_kept(factory: Factory):
    factory.run(seed=0, accuracy=0.1)
    kept = factory.run(seed=0, accuracy=0.2)
    factory.run(seed=0, status="failed")
    factory.run(seed=1, status="failed")
    last = factory.run(seed=1, status="interrupted")
    runs, twice = newest_per_identity(find([factory.root]).runs)
    assert {run.folder for run in runs} == {str(kept), str(last)}
    assert twice == 1


def test_two_records_without_identity_are_told_apart_by_their_configuration(factory: Factory):
    factory.run(seed=0, record={"identity": None})
    factory.run(seed=1, record={"identity": None})
    assert len(newest_per_identity(find([factory.root]).runs)[0]) == 2


def test_reading_imports_nothing_heavy(swept: Path):
    code = (
        "import sys; from dfa_cli.cli import app; from dfa_cli.results import compare_table;"
        f"assert 'seed 2 failed' in compare_table([{str(swept)!r}]);"
        "from dfa_cli.records import clean, dataframe, export, record;"
        "from dfa_cli.plots import against_key, bars, curves, panels, style;"
        "from dfa_cli.views import diff, listing, report, run;"
        "heavy = {'torch', 'hydra', 'omegaconf', 'numpy', 'scipy', 'pandas', 'matplotlib', 'rich.table'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_lazy_names_of_the_package_are_there():
    import dfa_cli.results as results

    for name in results.__all__:
        assert callable(getattr(results, name))
    with pytest.raises(AttributeError):
        _ = results.nonsense


def test_no_command_breaks_on_a_record_however_damaged(factory: Factory):
    """Parts of records are deleted or replaced at random. Each run is then either read, or named and skipped."""
    from dfa_cli.comparison.tables import compare_table
    from dfa_cli.records.export import runs_csv
    from dfa_cli.views.diff import diff_as_text
    from dfa_cli.views.listing import list_as_json, list_as_text
    from dfa_cli.views.run import run_as_text, run_in_full

    for rule in ("bp", "dfa"):
        for seed in range(5):
            factory.run(rule=rule, seed=seed, device="opu_sim", curves=False)
    files = sorted(factory.root.rglob("run.json"))
    whole = {path: path.read_text() for path in files}
    rng = random.Random(0)
    wrong = [
        None,
        "x",
        3,
        -1.5,
        [],
        [1, "a"],
        {},
        {"a": {"b": 1}},
        True,
        "\x1b[0m",
        "2026-13-99",
        float("inf"),
    ]
    for _ in range(25):
        for path in files:
            path.write_text(whole[path])
        for path in rng.sample(files, 4):
            record = json.loads(whole[path])
            branch, name = rng.choice(list(_leaves(record)))
            if rng.random() < 0.25:
                del branch[name]
            else:
                branch[name] = rng.choice(wrong)
            path.write_text(json.dumps(record))
        found = find([factory.root])
        assert len(found.runs) + len(found.skipped) == len(files)
        for format in ("table", "md", "csv", "json", "latex"):
            assert compare_table([factory.root], format=format, baseline="rule=bp")
        for text in (
            list_as_text(found.runs, 80),
            list_as_json(found.runs),
            runs_csv(found.runs),
        ):
            assert text
        for run in found.runs:
            assert run_as_text(run, 80)
            assert run_in_full(run, 80)
            assert diff_as_text(found.runs[0], run, 80)


def _leaves(tree: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    for name, held in tree.items():
        yield tree, name
        if isinstance(held, dict):
            yield from _leaves(held)
