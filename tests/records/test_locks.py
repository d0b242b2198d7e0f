"""Two processes never have a claim on the same configuration at the same time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dfa_cli.records.locks import InUseError, claim, last_run, runner

HOLD = """
import sys
from pathlib import Path
from dfa_cli.records.locks import InUseError, claim
try:
    with claim(Path(sys.argv[1]), "abc"):
        print("granted", flush=True)
        sys.stdin.read()
except InUseError:
    print("refused", flush=True)
"""


def hold(outputs: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(outputs)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_claim_is_refused_while_another_process_has_it_and_granted_after_its_death(
    tmp_path: Path,
) -> None:
    with hold(tmp_path) as first:
        assert answer(first) == "granted"
        holder = runner(tmp_path, "abc")
        assert holder is not None
        assert (holder.pid, holder.certain) == (first.pid, True)
        with pytest.raises(InUseError, match=f"in use by process {first.pid} on "), claim(tmp_path, "abc"):
            pass
        first.kill()
    assert runner(tmp_path, "abc") is None
    with claim(tmp_path, "abc"), hold(tmp_path) as second:
        assert answer(second) == "refused"
        second.kill()


def test_a_claim_on_one_configuration_leaves_others_free(tmp_path: Path) -> None:
    with claim(tmp_path, "abc"), hold(tmp_path) as second, claim(tmp_path, "def"):
        assert answer(second) == "refused"
        second.kill()


def test_the_last_run_is_found_after_the_output_folder_was_moved(tmp_path: Path) -> None:
    outputs, run = tmp_path / "outputs", tmp_path / "outputs" / "day" / "run"
    run.mkdir(parents=True)
    record = {"format": 1, "id": "1", "status": "completed", "identity": "abc", "choices": {}, "config": {}}
    (run / "run.json").write_text(json.dumps(record))
    with claim(outputs, "abc") as ours:
        assert ours.last_run() is None
        ours.run_in(run)
    moved = outputs.rename(tmp_path / "elsewhere")
    assert last_run(moved, "abc") == moved / "day" / "run"


def test_a_deleted_run_is_not_returned_as_the_last_one(tmp_path: Path) -> None:
    with claim(tmp_path, "abc") as ours:
        ours.run_in(tmp_path / "gone")
    assert last_run(tmp_path, "abc") is None


def test_asking_about_a_claim_writes_nothing(tmp_path: Path) -> None:
    assert runner(tmp_path, "abc") is None
    assert last_run(tmp_path, "abc") is None
    assert list(tmp_path.iterdir()) == []
