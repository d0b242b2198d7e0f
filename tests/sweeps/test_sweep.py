"""`dfa sweep` as a user runs it: which jobs it runs, which it reuses, and which failures it survives."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fragile
import pytest
from program import PATIENCE, Answer, Dfa, Run, interrupted_in_epoch

from studies.reliability.kills import study

JOBS = ["data=digits", "model.hidden=[8]", "epochs=2", "device=cpu"]
LONG = ["data=digits_graph", "model=gcn", "epochs=100000", "checkpoint_every=20"]
JOBLIB = ["launcher=joblib", "launcher.n_jobs=2"]


def sweep(dfa: Dfa, *words: str) -> Answer:
    return dfa("sweep", *dfa.arguments(*words))


def statuses(dfa: Dfa) -> dict[str, int]:
    return dict(Counter(run.record["status"] for run in dfa.runs()))


def no_duplicates(dfa: Dfa) -> bool:
    """Whether no configuration was completed twice."""
    names = [run.record["identity"] for run in dfa.runs() if run.record["status"] == "completed"]
    return len(names) == len(set(names))


def wait_until(holds: Callable[[], Any], seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@contextmanager
def started(dfa: Dfa, *words: str) -> Iterator[subprocess.Popen[str]]:
    with dfa.start(*words) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture(scope="module")
def swept(dfa_in: Callable[[str], Dfa]) -> tuple[Dfa, Answer]:
    dfa = dfa_in("swept")
    return dfa, sweep(dfa, *JOBS, "rule=bp,dfa", "device=cpu,opu_sim", "seed=0,1")


def test_every_combination_is_run_and_put_in_a_table(swept: tuple[Dfa, Answer]) -> None:
    dfa, answer = swept
    assert answer.code == 0, answer.err
    assert statuses(dfa) == {"completed": 6}
    assert "sweep of 8 combinations, 6 different runs (bp uses no device); 6 to run" in answer.out
    assert "[6/6] completed" in answer.out
    rows = [line.split()[:2] for line in answer.out.splitlines()]
    assert ["dfa", "opu_sim"] in rows
    assert ["bp", "–"] in rows
    assert "\x1b" not in answer.out


def test_a_record_says_what_was_typed_and_nothing_of_the_sweep(swept: tuple[Dfa, Answer]) -> None:
    dfa, _ = swept
    for run in dfa.runs():
        words = " ".join(run.record["overrides"])
        assert not any(word in words for word in ("run_id", "progress", "outputs", "launcher"))
        assert run.record["provenance"]["command"].startswith("dfa train ")
        assert " data=digits " in run.record["provenance"]["command"]
        assert not {"launcher", "sweeper"} & set(run.record["choices"])


def test_jobs_share_a_process_and_ids_are_their_own(swept: tuple[Dfa, Answer]) -> None:
    dfa, _ = swept
    assert len({run.record["provenance"]["pid"] for run in dfa.runs()}) == 1
    assert len({run.record["id"] for run in dfa.runs()}) == 6
    assert all(run.folder.name.endswith(run.record["id"]) for run in dfa.runs())


def test_the_same_jobs_are_reused_without_starting_anything(
    swept: tuple[Dfa, Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    dfa, first = swept
    monkeypatch.setattr("subprocess.Popen", None)
    answer = sweep(dfa, *JOBS, "rule=bp,dfa", "device=cpu,opu_sim", "seed=0,1")
    assert answer.code == 0, answer.err
    assert "6 reused; 0 to run" in answer.out
    assert answer.out.split("\n\n")[1:3] == first.out.split("\n\n")[1:3]  # the table
    assert statuses(dfa) == {"completed": 6}


def test_a_wider_range_runs_only_the_new_values_and_reuse_can_be_switched_off(
    swept: tuple[Dfa, Answer],
) -> None:
    dfa, _ = swept
    before = set(dfa.folders())
    answer = sweep(dfa, *JOBS, "rule=bp", "seed=range(3)")
    assert answer.code == 0, answer.err
    (new,) = set(dfa.folders()) - before
    assert Run(new).record["config"]["seed"] == 2

    answer = sweep(dfa, *JOBS, "rule=bp", "seed=0", "reuse=false")
    assert answer.code == 0, answer.err
    assert len(set(dfa.folders()) - before) == 2


def test_a_failing_job_stops_no_other_and_is_run_again(dfa: Dfa) -> None:
    words = [*JOBS, "rule=bp", "optimizer=sgd", "optimizer.lr=0.01,1e38,0.02"]
    answer = sweep(dfa, *words)
    assert answer.code == 1
    assert statuses(dfa) == {"completed": 2, "failed": 1}
    (failed,) = [run for run in dfa.runs() if run.record["status"] == "failed"]
    (line,) = [line for line in answer.out.splitlines() if line.startswith("failed: ")]
    assert "optimizer.lr=1e+38" in line
    assert "training has diverged" in line
    assert str(failed.folder / "run.log") in line
    assert "Traceback" in failed.log

    assert sweep(dfa, *words).code == 1
    assert statuses(dfa) == {"completed": 2, "failed": 2}


def test_fail_fast_stops_at_the_first(dfa: Dfa) -> None:
    answer = sweep(dfa, *JOBS, "rule=bp", "optimizer=sgd", "optimizer.lr=1e38,0.01,0.02", "fail_fast=true")
    assert answer.code == 1
    assert statuses(dfa) == {"failed": 1}
    assert "2 jobs were not begun" in answer.out


def test_a_mistake_in_one_job_stops_all_before_the_first(dfa: Dfa) -> None:
    answer = sweep(dfa, *JOBS, "epochs=2,0")
    assert answer.code == 2
    assert answer.sentence.startswith("error: epochs is 0. It must be")
    assert not dfa.outputs.exists()


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [[], JOBLIB], ids=["one process", "joblib"])
def test_jobs_survive_when_the_process_of_another_is_killed(
    dfa: Dfa, launcher: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (dfa.root / "conf" / "rule").mkdir(parents=True)
    (dfa.root / "conf" / "rule" / "fragile.yaml").write_text(fragile.CONFIG)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))

    answer = sweep(
        dfa, "--config-dir", str(dfa.root / "conf"), *JOBS, "rule=fragile,bp", "seed=0,1", *launcher
    )

    assert answer.code == 1
    done = [run for run in dfa.runs() if run.record["status"] == "completed"]
    assert sorted((run.record["choices"]["rule"], run.record["config"]["seed"]) for run in done) == [
        ("bp", 0),
        ("bp", 1),
    ]
    lines = [line for line in answer.out.splitlines() if line.startswith("failed: ")]
    assert len(lines) == 2
    assert all("rule=fragile" in line and "was killed" in line for line in lines)


@pytest.mark.slow
def test_joblib_divides_the_threads_among_its_processes(dfa: Dfa) -> None:
    answer = sweep(dfa, *JOBS, "rule=bp", "seed=range(4)", *JOBLIB)
    assert answer.code == 0, answer.err
    records = [run.record["provenance"] for run in dfa.runs()]
    cores = importlib.import_module("joblib").cpu_count()
    assert {record["threads"] for record in records} == {max(1, cores // 2)}
    assert len({record["pid"] for record in records}) == 2


def test_ctrl_c_is_recorded_and_the_same_command_goes_on(dfa: Dfa) -> None:
    arguments = ["sweep", *dfa.arguments(*LONG, "seed=0,1")]
    with started(dfa, *arguments) as process:
        wait_until(lambda: any(run.folder.joinpath("checkpoint.safetensors").exists() for run in dfa.runs()))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    said = "interrupted: 1 job was stopped midway, 1 job was not begun; the same command goes on from here\n"
    assert err == said
    assert "interrupted" not in out, "once is enough"
    (run,) = dfa.runs()
    assert run.record["status"] == "interrupted"

    with started(dfa, *arguments) as process:
        wait_until(
            lambda: (
                run.record.get("resumed") and len(run.metrics) > run.record["resumed"][0].get("epoch", 1e9)
            )
        )
        process.terminate()
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 143
    assert len(dfa.runs()) == 1
    assert run.record["resumed"][0]["was"] == "interrupted"


def test_a_job_with_an_unreadable_checkpoint_is_run_again(dfa: Dfa) -> None:
    words = [*JOBS, "rule=bp", "seed=0", "checkpoint_every=1"]
    assert sweep(dfa, *words).code == 0
    (run,) = dfa.runs()
    record = run.folder / "run.json"
    record.write_text(record.read_text().replace('"status": "completed"', '"status": "interrupted"'))
    (run.folder / "checkpoint.safetensors").write_bytes(b"cut short")
    answer = sweep(dfa, *words)
    assert answer.code == 0, answer.out + answer.err
    assert statuses(dfa) == {"interrupted": 1, "completed": 1}


def test_a_resumed_job_appends_to_its_log(dfa: Dfa) -> None:
    words = [*LONG[:2], "checkpoint_every=2", "rule=bp", "seed=0", "epochs=4", "progress=none"]
    with interrupted_in_epoch(3):
        assert dfa.train(*words).code == 130
    (run,) = dfa.runs()
    name = run.record["identity"]
    (dfa.outputs / ".claims").mkdir(exist_ok=True)
    (dfa.outputs / ".claims" / name).write_text(str(run.folder.relative_to(dfa.outputs)))
    before = run.log
    assert sweep(dfa, *words[:-1]).code == 0
    assert statuses(dfa) == {"completed": 1}
    assert run.log.startswith(before)
    assert "completed" in run.log[len(before) :]


def test_a_sweep_runs_in_the_folder_of_one_that_was_stopped(dfa: Dfa) -> None:
    top = dfa.root / "top"
    (top / ".sweep").mkdir(parents=True)
    (top / ".sweep" / "stop").touch()
    answer = sweep(dfa, *JOBS, "rule=bp", "seed=0", f"hydra.sweep.dir={top}")
    assert answer.code == 0, answer.out
    assert len(list(top.glob("*/run.json"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("has_flock", [True, False], ids=["file locks", "no file locks"])
def test_two_sweeps_at_once_share_the_work(dfa: Dfa, no_flock: dict[str, str], has_flock: bool) -> None:
    arguments = ["sweep", *dfa.arguments("data=digits_graph", "model=gcn", "epochs=60", "seed=range(4)")]
    environment = {**({} if has_flock else no_flock), **os.environ, **dfa.environment}
    processes = [dfa.start(*arguments, env=environment) for _ in range(2)]
    answers = [process.communicate(timeout=PATIENCE) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    assert statuses(dfa) == {"completed": 4}
    assert no_duplicates(dfa)
    notes = "".join(err for _, err in answers)
    assert notes.count("the disk of the output folder has no file locks") == (0 if has_flock else 2)


def test_a_mistake_in_the_overrides_of_a_sweep_is_a_sentence(dfa: Dfa) -> None:
    for word in ("optimizer.lr=interval(0.1,1)", "seed=range(0)", "model.hidden=[64", "seed", "rule=glob(*)"):
        answer = sweep(dfa, *JOBS, word)
        assert answer.code == 2, word
        assert answer.err.startswith("error: ")
        assert "Traceback" not in answer.err
    assert not dfa.outputs.exists()


@pytest.mark.slow
def test_ctrl_c_is_recorded_by_every_process_of_joblib(dfa: Dfa) -> None:
    words = [*LONG, "model.hidden=[256]", "seed=range(4)", *JOBLIB]
    with started(dfa, "sweep", *dfa.arguments(*words)) as process:
        wait_until(lambda: len([run for run in dfa.runs() if (run.folder / "metrics.csv").exists()]) == 2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert statuses(dfa) == {"interrupted": 2}
    assert "interrupted: 2 jobs were stopped midway, 2 jobs were not begun; the same command goes on" in err


@pytest.mark.slow
def test_a_search_goes_on_with_its_study(dfa: Dfa) -> None:
    pytest.importorskip("optuna")
    words = [*JOBS, "rule=bp", "optimizer.lr=tag(log,interval(1e-4,1e-1))", "sweeper=optuna"]
    for trials, records in ((2, 2), (3, 3), (3, 3)):
        answer = sweep(dfa, *words, f"sweeper.n_trials={trials}")
        assert answer.code == 0, answer.err
        assert statuses(dfa) == {"completed": records}
        assert f"best of {trials} trials: optimizer.lr=" in answer.out
    assert "3 of 3 trials are there, 0 to run" in answer.out


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["submitit_local", "ray"])
def test_other_launchers_run_the_same_jobs(dfa: Dfa, launcher: str) -> None:
    pytest.importorskip("submitit" if launcher == "submitit_local" else launcher)
    words = [*JOBS, "rule=bp", "optimizer=sgd", "optimizer.lr=0.01,1e38,0.02", f"launcher={launcher}"]
    # In a process of its own: Ray's plugin registers a resolver when it is imported, and cannot be imported twice.
    answer = dfa.process("sweep", *dfa.arguments(*words))
    assert answer.code == 1
    assert statuses(dfa) == {"completed": 2, "failed": 1}
    assert (
        sweep(dfa, *JOBS, "rule=bp", "optimizer=sgd", "optimizer.lr=0.01,0.02").out.count(
            "2 reused; 0 to run"
        )
        == 1
    )


@pytest.mark.parametrize(
    ("word", "extra"),
    [
        ("launcher=joblib", "joblib"),
        ("launcher=ray", "ray"),
        ("launcher=submitit_slurm", "slurm"),
        ("sweeper=optuna", "optuna"),
    ],
)
def test_a_plugin_that_is_not_installed_is_named_with_its_extra(
    dfa: Dfa, word: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    answer = sweep(dfa, *JOBS, word)
    assert answer.code == 2
    assert answer.sentence.startswith(f"error: {word} needs hydra-")
    assert answer.sentence.endswith(f"pip install -e '.[{extra}]'.")


@pytest.mark.slow
def test_sweeps_killed_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    report = study(tmp_path, kills=2, names=["sweep"], extra=("rule=dfa", "seed=0", "epochs=60"))
    assert not report.wrong, report


def test_a_search_without_anything_to_search_is_refused(dfa: Dfa) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    answer = dfa("sweep", *dfa.arguments("data=digits", "epochs=1", "sweeper=optuna"))
    assert answer.code == 2
    assert "nothing to search" in answer.sentence
    assert "optimizer.lr=interval(0.001,0.1)" in answer.sentence
    assert dfa.folders() == []
