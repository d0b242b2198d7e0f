"""A job that is started a second time, and a second sweep or search at the same place, delete and double nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from program import PATIENCE, Dfa, Run

from studies.reliability.commands import descendants_of

JOBS = ("data=digits", "model.hidden=[8]", "device=cpu", "rule=bp")


def wait_for(true: Callable[[], Any], seconds: float = PATIENCE) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)


def files_of(run: Run) -> dict[str, bytes]:
    """Return the files that dfa writes, without those that Hydra writes at each start of a job."""
    paths = [
        path for path in run.folder.iterdir() if path.is_file() and path.name not in ("run.log", ".lock")
    ]
    return {path.name: path.read_bytes() for path in paths}


@pytest.mark.slow
def test_the_command_of_a_job_is_given_again(dfa: Dfa) -> None:
    """SLURM does so with a job that it puts back into its queue, and Ray with one whose process has died."""
    pytest.importorskip("submitit")
    top = dfa.root / "top"
    words = [*JOBS, "epochs=1500", "checkpoint_every=10", "launcher=submitit_local", f"hydra.sweep.dir={top}"]
    sweep = dfa.start("sweep", *dfa.arguments(*words))
    wait_for(lambda: list(top.glob("*/checkpoint.safetensors")) or sweep.poll() is not None)
    (run,) = [Run(path.parent) for path in top.glob("*/run.json")]
    (submitted,) = top.rglob("*_submitted.pkl")

    def give_again() -> None:
        environment = {
            "SUBMITIT_EXECUTOR": "local",
            "SUBMITIT_LOCAL_JOB_ID": submitted.name.partition("_")[0],
            "SUBMITIT_LOCAL_LOCALID": "0",
            "SUBMITIT_LOCAL_GLOBALID": "0",
        }
        subprocess.run(
            [sys.executable, "-u", "-m", "submitit.core._submit", str(submitted.parent)],
            env={**os.environ, **dfa.environment, **environment},
            cwd=dfa.root,
            capture_output=True,
            check=True,
            timeout=PATIENCE,
        )
        assert [path.parent for path in top.glob("*/run.json")] == [run.folder]

    os.kill(run.record["provenance"]["pid"], signal.SIGSTOP)  # so that it does not end meanwhile
    before = files_of(run)
    give_again()
    assert files_of(run) == before
    assert run.record["status"] == "running"

    for pid in [sweep.pid, *descendants_of(sweep.pid)]:
        os.kill(pid, signal.SIGKILL)
    sweep.communicate()
    reached = len(run.metrics)
    give_again()
    assert run.record["status"] == "completed"
    assert [resumed["was"] for resumed in run.record["resumed"]] == ["running"]
    assert 0 < run.record["resumed"][0]["epoch"] <= reached
    assert [int(row["epoch"]) for row in run.metrics] == list(range(1, 1501))

    before = files_of(run)
    give_again()
    assert files_of(run) == before
    (top / ".sweep" / "stop").touch()  # as Ctrl-C leaves it
    give_again()
    assert files_of(run) == before


def test_a_second_sweep_in_the_folder_of_a_running_one_is_refused(dfa: Dfa) -> None:
    top = dfa.root / "top"
    words = [*JOBS, "epochs=100", "seed=range(4)", f"hydra.sweep.dir={top}"]
    processes = [dfa.start("sweep", *dfa.arguments(*words)) for _ in range(2)]
    answers = [process.communicate(timeout=PATIENCE)[1] for process in processes]
    codes = [process.returncode for process in processes]
    assert sorted(codes) == [0, 2], answers
    first = processes[codes.index(0)]
    assert f"top is in use by process {first.pid} on " in answers[codes.index(2)]
    records = [Run(path.parent).record for path in top.glob("*/run.json")]
    assert sorted(record["config"]["seed"] for record in records) == [0, 1, 2, 3]
    assert {record["status"] for record in records} == {"completed"}


def test_a_sweep_waits_for_a_run_that_dfa_resume_continues(dfa: Dfa) -> None:
    words = [*JOBS, "epochs=100000", "checkpoint_every=10"]
    with dfa.start("sweep", *dfa.arguments(*words)) as process:
        wait_for(lambda: list(dfa.outputs.rglob("checkpoint.safetensors")))
        process.terminate()
        process.communicate(timeout=PATIENCE)
    (run,) = dfa.runs()
    assert run.record["error"]["signal"] == "SIGTERM"
    resumed = dfa.start("resume", str(run.folder))
    wait_for(lambda: len(run.record.get("resumed", ())) == 1)
    with dfa.start("sweep", *dfa.arguments(*words)) as sweep:
        wait_for(lambda: any("elsewhere" in path.read_text() for path in dfa.outputs.rglob(".sweep/notes/*")))
        assert len(dfa.runs()) == 1
        assert "nothing to clean" in dfa("clean", str(dfa.outputs), "--yes").out
        resumed.send_signal(signal.SIGINT)
        resumed.communicate(timeout=PATIENCE)
        assert resumed.returncode == 130
        wait_for(lambda: len(run.record["resumed"]) == 2)  # now it is the sweep's turn
        sweep.terminate()
        sweep.communicate(timeout=PATIENCE)
    assert [resumed["was"] for resumed in run.record["resumed"]] == ["interrupted"] * 2
    assert len(dfa.runs()) == 1


IMPORTED = """
import os, signal, time
os.kill(os.getppid(), signal.SIGINT)
try:
    time.sleep(30)
except KeyboardInterrupt:
    raise RecursionError("as numpy turns it") from None
class Rule:
    pass
"""


def test_a_signal_that_an_import_turns_into_another_exception_is_an_interruption(dfa: Dfa) -> None:
    (dfa.root / "conf" / "rule").mkdir(parents=True)
    (dfa.root / "conf" / "rule" / "slow.yaml").write_text("{_target_: slow.Rule, needs: nothing}")
    (dfa.root / "conf" / "slow.py").write_text(IMPORTED)
    answer = dfa.process(
        "sweep", "--config-dir", str(dfa.root / "conf"), *dfa.arguments(*JOBS[:-1], "rule=slow", "seed=0,1")
    )
    assert answer.code == 130, answer
    assert Counter(run.record["status"] for run in dfa.runs()) == {"interrupted": 1}
    assert "1 job was stopped midway, 1 job was not begun" in answer.err
    assert "failed" not in answer.out


@pytest.mark.parametrize("subdir", ["seed${seed}", "a/${hydra.job.num}"])
def test_the_folder_of_a_job_is_the_one_that_the_user_names(dfa: Dfa, subdir: str) -> None:
    top = dfa.root / "top"
    places = [f"hydra.sweep.dir={top}", f"hydra.sweep.subdir='{subdir}'"]
    answer = dfa("sweep", *dfa.arguments(*JOBS, "epochs=1", "seed=0,1", *places))
    assert answer.code == 0, answer
    assert "[2/2] completed" in answer.out
    names = {str(path.parent.relative_to(top)) for path in top.rglob("run.json")}
    assert names == {subdir.replace("${seed}", seed).replace("${hydra.job.num}", seed) for seed in "01"}


@pytest.mark.slow
def test_a_second_search_of_the_same_study_is_refused(dfa: Dfa) -> None:
    pytest.importorskip("optuna")
    words = [
        "sweeper=optuna",
        "sweeper.n_trials=2",
        "optimizer.lr=interval(1e-4,1e-2)",
        "sweeper.study_name=mine",
    ]
    arguments = dfa.arguments(*JOBS, "epochs=1", *words)
    with dfa.start("sweep", *arguments) as first:
        wait_for(lambda: list(dfa.outputs.glob(".claims/study-*.lock")))
        second = dfa("sweep", *arguments)
        assert second.code == 2
        assert f"the study mine is in use by process {first.pid} on " in second.sentence
        out, err = first.communicate(timeout=PATIENCE)
    assert first.returncode == 0, err
    assert "best of 2 trials" in out
