"""`dfa sweep --dry-run` tells what a sweep would do, does what it tells later, and writes nothing now."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import pytest
from program import PATIENCE, Answer, Dfa, interrupted_in_epoch

from dfa_cli.console import output

JOBS = ["data=digits", "model.hidden=[8]", "epochs=2", "device=cpu", "rule=bp"]


def sweep(dfa: Dfa, *words: str) -> Answer:
    return dfa("sweep", *dfa.arguments(*words))


def files(dfa: Dfa) -> dict[str, str]:
    """All that is on disk: folders, and the sum of each file."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in dfa.root.rglob("*")
    }


def dry_run(dfa: Dfa, *words: str) -> str:
    """The plan on one line, after a check that nothing was written."""
    before = files(dfa)
    answer = sweep(dfa, "--dry-run", *words)
    assert answer.code == 0, answer.err
    assert files(dfa) == before
    assert "Nothing was run or written." in answer.out
    return " ".join(answer.out.split())


def took(dfa: Dfa, training: float, total: float) -> None:
    """Change the times in all records. The first run of the process took 5 s longer, and 3 s until it began."""
    for i, run in enumerate(dfa.runs()):
        record = run.record
        first = {"startup_seconds": 3.0} if i == 0 else {}
        record["time"] = {"train_seconds": training, "total_seconds": total + 5.0 * (i == 0), **first}
        run.rewrite(record)


@pytest.fixture(scope="module")
def swept(dfa_in: Callable[[str], Dfa]) -> Dfa:
    """Two runs of two epochs, 10 s each, and 2 s for all else."""
    dfa = dfa_in("swept")
    assert sweep(dfa, *JOBS, "seed=0,1").code == 0
    took(dfa, 20.0, 22.0)
    return dfa


def test_an_empty_folder_stays_empty(dfa: Dfa) -> None:
    shown = dry_run(dfa, *JOBS[:3], "rule=bp,dfa", "device=cpu,opu_sim")
    assert "4 combinations, 3 different runs (bp uses no device); 3 to run" in shown
    assert "3 jobs to run rule=bp device=cpu rule=dfa device=cpu rule=dfa device=opu_sim" in shown
    kinds = ("bp", "dfa on cpu", "dfa on opu_sim, device/encoding=dithered")
    each = "; ".join(f"1 job of fc [8] on digits, trained by {kind}" for kind in kinds)
    assert f"no record yet of the same kind as {each} disk" in shown
    assert "optics" not in shown
    assert not dfa.outputs.exists()


def test_it_tells_what_is_reused_and_what_is_run(swept: Dfa, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.Popen", None)
    shown = dry_run(swept, *JOBS, "seed=range(4)")
    assert "sweep of 4 jobs, 2 reused; 2 to run" in shown
    ids = {run.record["config"]["seed"]: run.record["id"] for run in swept.runs()}
    assert re.search(rf"2 jobs reused seed=0 \(run {ids[0]} of [^)]+\) seed=1 \(run {ids[1]} of", shown)
    assert "2 jobs to run seed=2 seed=3" in shown
    assert "4 jobs run again" not in shown
    again = dry_run(swept, *JOBS, "seed=range(4)", "reuse=false")
    assert "sweep of 4 jobs; 4 to run 2 jobs run again, because reuse=false seed=0 (run" in again


def test_a_damaged_record_is_named_once(dfa: Dfa) -> None:
    (dfa.outputs / "half").mkdir(parents=True)
    (dfa.outputs / "half" / "run.json").write_text("{")
    answer = sweep(dfa, "--dry-run", *JOBS, "seed=0,1")
    assert answer.code == 0
    assert answer.err == f"skipped {dfa.outputs / 'half'}: run.json is damaged: it is not whole JSON\n"


def test_the_light_is_that_of_records_with_an_equal_device(dfa: Dfa) -> None:
    words = [*JOBS[:3], "rule=dfa", "device=opu_sim"]
    assert dfa.train(*words).code == 0
    (run,) = dfa.runs()
    run.rewrite(run.record | {"projection": {"modelled_seconds": 4.0, "modelled_joules": 120.0}})
    # Of 2 epochs; the sweep has twice 4. The processor has no light.
    both = dry_run(dfa, *words, "device=opu_sim,cpu", "epochs=4", "seed=1,2")
    assert "light about 16.0 s, 480 J of modelled optics disk" in both
    slower = dry_run(dfa, *words, "device.frame_seconds=1e-3,auto", "seed=1")
    assert "light about 4.00 s, 120 J of modelled optics, and 1 job more of unknown light disk" in slower
    both = dry_run(dfa, *words, "device/encoding=sign,dithered", "seed=1")
    assert "as 1 job of fc [8] on digits, trained by dfa on opu_sim, device/encoding=sign light" in both
    assert "from 1 run of fc [8] on digits, trained by dfa on opu_sim, device/encoding=dithered" in both


def test_kinds_of_runs_that_differ_are_told_in_different_words(dfa: Dfa) -> None:
    words = [*JOBS[:3], "rule=dfa", "device=opu_sim"]
    assert dfa.train(*words).code == 0
    parts = ["device/readout=statistical,off_axis", "device.macropixel=auto,7"]
    shown = dry_run(dfa, *words, *parts, "seed=1")
    kinds = re.findall(r"1 (?:run|job) of (fc \[8\] .*?)(?:;| [0-9.]+ s to start| no record| light)", shown)
    assert len(set(kinds)) == len(kinds) == 4
    known, *_ = (kind for kind in kinds if f"from 1 run of {kind}" in shown)
    assert "readout" not in known
    assert "device.macropixel=auto" in known
    both = "trained by dfa on opu_sim, device/readout=off_axis, device/encoding=dithered, device.macropixel=7"
    assert any(kind.endswith(both) for kind in kinds)


@pytest.mark.parametrize(
    ("words", "time"),
    [
        (["seed=2,3"], "about 52.0 s, one job after another 2 jobs, 22.0 s each, from 2 runs of fc [8] on digits"),
        (["seed=2", "epochs=10"], "about 1.83 min, one job after another 1 job, 1.70 min each, from 2 runs"),
        (["seed=2", "epochs=4,10", "patience=3"], "at most 2.53 min"),
        (["optimizer.lr=0.1,0.2,0.3"], "about 74.0 s, one job after another 3 jobs, 22.0 s each"),
        (["model.hidden=[8],[9]", "seed=2"], "about 30.0 s, one job after another, and 1 job more of unknown length"),
        (["batch_size=32", "seed=2"], "one job after another no record yet of the same kind as 1 job of fc [8]"),
        (["seed=range(2,6)", "launcher=joblib", "launcher.n_jobs=2"], "about 52.0 s, 2 jobs at once 4 jobs, 22.0 s"),
        (["seed=range(2,5)", "launcher=joblib", "launcher.n_jobs=8"], "about 30.0 s, 3 jobs at once"),
    ],
    ids=lambda words: words[0] if isinstance(words, list) else "",
)  # fmt: skip
def test_the_time_is_that_of_records_of_the_same_kind(swept: Dfa, words: list[str], time: str) -> None:
    assert f"time {time}" in dry_run(swept, *JOBS, *words)


def test_the_room_on_disk_is_that_of_such_runs(swept: Dfa) -> None:
    sizes = [
        sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) for folder in swept.folders()
    ]
    found = re.search(r"disk about ([\d.]+) kB; [\d.]+ .B are free in", dry_run(swept, *JOBS, "seed=5,6"))
    assert found is not None
    assert float(found[1]) == pytest.approx(sum(sizes) / 1000, rel=0.02)


def test_a_long_list_is_cut_in_a_terminal_only(swept: Dfa, monkeypatch: pytest.MonkeyPatch) -> None:
    words = [*JOBS, "seed=range(40)"]
    assert "seed=38 seed=39" in dry_run(swept, *words)
    monkeypatch.setattr(output, "terminal_width", lambda: 80)
    answer = sweep(swept, "--dry-run", *words)
    assert "38 jobs to run\n  seed=2\n  seed=3\n  seed=4\n  seed=5\n  seed=6\n  and 33 more\n" in answer.out
    assert max(map(len, answer.out.splitlines())) <= 80


def test_a_resumed_job_is_told_before_by_a_sweep_and_by_its_dry_run(dfa: Dfa) -> None:
    words = [*JOBS[:2], "epochs=4", "checkpoint_every=2", "rule=bp", "seed=0"]
    with interrupted_in_epoch(3):
        assert dfa.train(*words).code == 130
    (run,) = dfa.runs()
    (dfa.outputs / ".claims").mkdir(exist_ok=True)
    (dfa.outputs / ".claims" / run.record["identity"]).write_text(str(run.folder.relative_to(dfa.outputs)))
    plan = dry_run(dfa, *words[:-1], "seed=0,1")
    out = " ".join(sweep(dfa, *words[:-1], "seed=0,1").out.split())
    for text in (plan, out):
        assert "sweep of 2 jobs, 1 resumed; 2 to run" in text
        assert re.search(
            rf"1 job resumed seed=0 \(run {run.record['id']} of [^)]+, after epoch 2 of 4\)", text
        )
    assert "1 job to run seed=1" in plan
    assert run.record["resumed"][0]["epoch"] == 2
    assert "seed=0,1" not in dry_run(dfa, *words[:-1], "seed=0", "reuse=false")
    assert "2 reused; 0 to run" in dry_run(dfa, *words[:-1], "seed=0,1")


def test_data_that_cannot_be_had_are_refused_as_by_the_sweep(dfa: Dfa) -> None:
    dfa.environment["DFA_DATA_MIRROR"] = ""
    words = ["model=gcn", "data=cora", "mirrors=[]", "seed=0,1"]
    plan, real = sweep(dfa, "--dry-run", *words), sweep(dfa, *words)
    assert plan.code == real.code == 2
    assert plan.err == real.err
    assert "2 jobs to run" in plan.out
    assert not dfa.outputs.exists()


def test_a_job_that_runs_now_is_waited_for(dfa: Dfa) -> None:
    words = ["data=digits_graph", "model=gcn", "epochs=100000"]
    with dfa.start("sweep", *dfa.arguments(*words, "seed=0")) as process:
        try:
            while not dfa.folders():
                assert process.poll() is None
            answer = sweep(dfa, "--dry-run", *words, "seed=0,1")
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)
    assert "1 job run by another process now, and waited for\n  seed=0\n" in answer.out
    assert "1 job to run\n  seed=1\n" in answer.out


@pytest.mark.slow
def test_a_search_tells_how_many_trials_are_left(dfa: Dfa) -> None:
    pytest.importorskip("optuna")
    words = [*JOBS, "optimizer.lr=tag(log,interval(1e-4,1e-1))", "sweeper=optuna"]
    assert ": 0 of 20 trials are there, 20 to run" in dry_run(dfa, *words)
    assert sweep(dfa, *words, "sweeper.n_trials=1").code == 0
    took(dfa, 20.0, 22.0)
    shown = dry_run(dfa, *words, "sweeper.n_trials=3")
    assert ": 1 of 3 trials are there, 2 to run" in shown
    assert "about 57.0 s, one job after another, if all trials are of this kind" in shown
