"""Runs over several processes, from the command to the record; and what happens when a process ends."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from program import PATIENCE, Dfa, Run
from safetensors.torch import load_file

from dfa_cli.parallel.processes import own_core
from dfa_cli.plots.timeline import measured_timelines
from dfa_cli.records.run import read_run
from dfa_cli.records.words import heading
from dfa_cli.views.run import run_as_text, run_in_full

NET = ("data=digits", "model.hidden=[8,8,8]", "model.dropout=0.2", "progress=none")
THREE = ("parallel=pipeline", "parallel.stages=3")
# Each process lets the optics change for itself.
DRIFTING = ("device=opu_sim", "device/drift=medium", "device.drift.tau=5", "device.drift.walk=0.1")
SECONDS = 10.0  # within which everything ends once a process has ended


def parent_of(pid: int | str) -> int | None:
    """Return the parent of a process; `None` when it has ended, even if nobody has taken note of it yet."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return None
    return None if state in "ZX" else int(parent)


def children(pid: int) -> list[int]:
    """Return the processes that `pid` has started and that have not ended."""
    numbers = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
    return [number for number in numbers if parent_of(number) == pid]


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if parent_of(pid) is not None]


def wait_until_gone(pids: list[int]) -> None:
    until = time.monotonic() + SECONDS
    while alive(pids) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(pids)


def torchrun(dfa: Dfa, *words: str) -> subprocess.Popen[str]:
    """Start two processes of `dfa WORDS` as a cluster does."""
    options = ("--standalone", "--nproc-per-node", "2", "-m", "dfa_cli.cli")
    return dfa.start(*options, *words, program="torch.distributed.run")


def started(dfa: Dfa, *words: str, start: Any = Dfa.start) -> tuple[subprocess.Popen[str], list[int], Path]:
    """Start a run, wait for its first checkpoint, and return its process, the other processes, and its folder."""
    process = start(dfa, "train", *dfa.arguments(*words))
    until = time.monotonic() + PATIENCE
    while not (found := list(dfa.outputs.rglob("checkpoint.safetensors"))):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)
    return process, children(process.pid), found[0].parent


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system tells no cores of a process")
def test_processes_that_take_all_cores_keep_to_a_core_each(dfa: Dfa) -> None:
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        pytest.skip("there is only one core")
    two = set(sorted(cores)[:2])
    os.sched_setaffinity(0, two)
    try:
        process, others, _ = started(
            dfa, *NET, "epochs=100000", "checkpoint_every=1", "parallel=pipeline", "parallel.stages=2"
        )
    finally:
        os.sched_setaffinity(0, cores)
    held = [os.sched_getaffinity(pid) for pid in (process.pid, *others)]
    process.kill()
    process.communicate()
    assert sorted(held, key=min) == [{core} for core in sorted(two)]


def test_a_process_has_all_cores_again_afterwards() -> None:
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system tells no cores of a process")
    cores, threads = os.sched_getaffinity(0), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with own_core(local=len(cores) - 1, size=len(cores)):
            assert os.sched_getaffinity(0) == {max(cores)}
        with own_core(local=0, size=len(cores) + 1):
            assert os.sched_getaffinity(0) == cores
    finally:
        torch.set_num_threads(threads)
    assert os.sched_getaffinity(0) == cores


@pytest.fixture(scope="module")
def pair(dfa_in) -> tuple[Dfa, Run, Run]:
    """The same run in one process and in three."""
    dfa = dfa_in("pair")
    optics = ("device/encoding=dithered", "device.remove_sum=true")
    words = (*NET, *DRIFTING, *optics, "epochs=3", "checkpoint_every=2")
    return dfa, dfa.run(*words), dfa.run(*words, *THREE)


def test_three_processes_give_the_bits_of_one(pair: tuple[Dfa, Run, Run]) -> None:
    _, one, three = pair
    assert three.repeatable == one.repeatable
    assert three.weights == one.weights
    assert three.record["projection"]["frames"] == one.record["projection"]["frames"]
    assert one.record["identity"] != three.record["identity"]


def test_the_full_pixels_of_all_stages_are_counted(dfa: Dfa) -> None:
    words = (*NET, "device=opu_sim", "device.camera.photons=2500", "device.camera.exposure=6", "epochs=2")
    one, three = dfa.run(*words), dfa.run(*words, *THREE)
    fraction = one.record["projection"]["notes"]["saturated_fraction"]
    assert fraction > 0.01
    assert three.record["projection"]["notes"]["saturated_fraction"] == fraction
    assert three.record["warnings"] == one.record["warnings"]
    assert three.weights == one.weights  # with the counts of the device


def test_the_record_says_what_travelled_and_who_waited(pair: tuple[Dfa, Run, Run]) -> None:
    _, one, three = pair
    assert "parallel" not in one.record
    stages = three.record["parallel"]["stages"]
    assert [block for stage in stages for block in stage["blocks"]] == [1, 2, 3, 4]
    rows, steps = 3 * 1000, 3 * 4  # digits has 1000 training rows, in four batches
    for place, stage in enumerate(stages):
        assert stage["steps"] == steps
        if place < 2:
            assert stage["sent"]["forward"] == {"messages": steps, "bytes": rows * 8 * 4}
        assert stage["seconds"]["computing"] > 0
        assert {span["kind"] for span in stage["timeline"]} >= {"forward", "backward"}
    # The errors go from the last stage to the first, and from there to the second.
    errors = {"messages": steps, "bytes": rows * 10 * 4}
    assert [stage["sent"].get("backward") for stage in stages] == [errors, None, errors]
    for describe in (run_as_text, run_in_full):
        shown = describe(read_run(three.folder)).partition("Stages, a process each")[2]
        table = shown.partition("all of it")[0].partition("Configuration")[0]
        assert "forward sent" in table
        assert "error sent" in table, "as in dfa plan"
        assert "backward sent" not in table
        assert "1 x 8.00 kB" in table
        assert re.search(r"^  stage  blocks", table, re.MULTILINE)
        assert max(map(len, table.splitlines())) <= 80, "through a pipe"


def test_a_run_that_begins_says_how_many_processes_it_has(pair: tuple[Dfa, Run, Run]) -> None:
    _, one, three = pair
    first, of_three = (heading(run.record["config"], run.record["choices"]) for run in (one, three))
    assert of_three == f"{first}, 3 stages, a process each"
    replicas = {**one.record["config"], "parallel": {"replicas": 2}}
    assert heading(replicas, one.record["choices"]) == f"{first}, 2 replicas, a process each"


def test_a_comparison_tells_the_two_apart_in_one_column(pair: tuple[Dfa, Run, Run]) -> None:
    dfa, _, _ = pair
    table = dfa("compare", str(dfa.outputs)).out
    assert table.count("parallel ") == 1
    assert "none" in table
    assert "pipeline" in table


def test_the_headings_of_timelines_tell_runs_apart(pair: tuple[Dfa, Run, Run], tmp_path: Path) -> None:
    _, _, three = pair
    runs = []
    for name, values in {"a": {}, "b": {}, "c": {"activations": "recompute"}}.items():
        copy = Run(Path(shutil.copytree(three.folder, tmp_path / name)))
        config = {**copy.record["config"], **values}
        copy.rewrite({**copy.record, "id": name, "config": config})
        runs.append(read_run(copy.folder))
    assert list(measured_timelines(runs)) == ["dfa (a)", "dfa (b)", "dfa, recompute"]


def test_the_heading_of_a_timeline_names_how_the_run_is_divided_where_others_are_not(
    pair: tuple[Dfa, Run, Run], tmp_path: Path
) -> None:
    _, _, three = pair
    runs = []
    for name, values in {"a": {}, "b": {"micro_batches": 8, "split": [2, 1]}}.items():
        copy = Run(Path(shutil.copytree(three.folder, tmp_path / name)))
        config = copy.record["config"]
        config["parallel"] |= {"micro_batches": 4, "split": None, **values}
        copy.rewrite({**copy.record, "id": name, "config": config})
        runs.append(read_run(copy.folder))
    assert list(measured_timelines(runs)) == ["dfa, micro_batches=4", "dfa, micro_batches=8, split=[2, 1]"]
    assert list(measured_timelines(runs[:1])) == ["dfa"]


def test_a_timeline_is_drawn(pair: tuple[Dfa, Run, Run]) -> None:
    dfa, one, _ = pair
    picture = dfa.root / "timeline.svg"
    words = (
        "plot",
        "--kind",
        "timeline",
        "--width",
        "4",
        "--height",
        "3",
        str(dfa.outputs),
        "--out",
        str(picture),
    )
    assert dfa(*words).code == 0
    assert 'width="288pt" height="216pt"' in picture.read_text()
    answer = dfa("plot", "--kind", "timeline", str(one.folder), "--out", str(dfa.root / "none.svg"))
    assert "no run here has a timeline" in answer.sentence


@pytest.mark.slow
def test_a_killed_run_leaves_no_process_and_is_continued_in_more_stages(dfa: Dfa) -> None:
    words = (*NET, "epochs=90", "checkpoint_every=5")
    process, others, folder = started(dfa, *words, "parallel=pipeline")
    assert len(others) == 1
    process.kill()
    process.communicate()
    wait_until_gone(others)
    assert Run(folder).record["status"] == "running"
    before = (folder / "run.json").read_bytes()
    refused = dfa("resume", str(folder), "--stages", "9").sentence
    assert (
        "--stages 9 needs a model of 9 blocks or more, and this one has 4. Use --stages 4 or fewer."
        in refused
    )
    assert (folder / "run.json").read_bytes() == before
    assert dfa("resume", str(folder), "--stages", "3").code == 0
    assert len(Run(folder).record["parallel"]["stages"]) == 3
    assert re.search(r"\nresumed +[^\n]+, after epoch \d+, in 3 stages\n", dfa("show", str(folder)).out)
    one = dfa.run(*words)
    assert Run(folder).repeatable == one.repeatable
    assert Run(folder).weights == one.weights
    assert "is completed" in dfa("resume", str(folder), "--stages", "2").sentence


@pytest.mark.slow
def test_torchrun_continues_a_killed_run(dfa: Dfa) -> None:
    """Torchrun starts both processes, and each finds the checkpoint by itself."""
    words = (*NET, "epochs=150", "checkpoint_every=5")
    process, others, folder = started(dfa, *words, "parallel=pipeline")
    process.kill()
    process.communicate()
    wait_until_gone(others)
    launcher = torchrun(dfa, "resume", str(folder))
    _, err = launcher.communicate(timeout=PATIENCE)
    assert launcher.returncode == 0, err
    record = Run(folder).record
    assert (record["status"], len(record["resumed"])) == ("completed", 1)
    assert len(record["parallel"]["stages"]) == 2
    assert Run(folder).weights == dfa.run(*words).weights


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_when_a_process_ends_the_run_ends(dfa: Dfa, how: signal.Signals) -> None:
    """SIGKILL goes to a stage, and SIGINT, as Ctrl-C sends it, to the process that owns the record."""
    process, others, folder = started(dfa, *NET, *THREE, "epochs=100000", "checkpoint_every=5")
    assert len(others) == 2
    began = time.monotonic()
    os.kill(max(others) if how == signal.SIGKILL else process.pid, how)
    _, err = process.communicate(timeout=PATIENCE)
    assert time.monotonic() - began < SECONDS
    wait_until_gone(others)
    error = Run(folder).record["error"]
    if how == signal.SIGKILL:
        # The order of the processes in the system is that of the stages.
        assert process.returncode == 2
        assert f"Stage 3 of 3 (process {max(others)}) was killed by SIGKILL." in " ".join(err.split())
        assert Run(folder).record["status"] == "failed"
        assert error["message"].startswith("Stage 3 of 3")
    else:
        assert process.returncode == 130
        assert Run(folder).record["status"] == "interrupted"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("whom", "how", "status"),
    [
        ("stage", signal.SIGKILL, "failed"),
        ("first", signal.SIGKILL, "killed"),
        ("launcher", signal.SIGTERM, "interrupted"),
    ],
)
def test_what_torchrun_ends_is_told_from_what_the_user_ends(
    dfa: Dfa, whom: str, how: signal.Signals, status: str
) -> None:
    """When a process has ended, torchrun ends the others with SIGTERM, as a user may end all of them."""
    words = (*NET, "parallel=pipeline", "epochs=100000", "checkpoint_every=5")
    launcher, both, folder = started(dfa, *words, start=torchrun)
    first, stage = sorted(both)  # The order of the processes in the system is that of the stages.
    os.kill({"stage": stage, "first": first, "launcher": launcher.pid}[whom], how)
    wait_until_gone(both)
    _, err = launcher.communicate(timeout=PATIENCE)  # It may take its time on a busy machine.
    assert read_run(folder).status == status
    sentence = (
        f"Stage 2 of 2 (process {stage}) has ended and left no error, as a process does that is killed."
    )
    error = Run(folder).record["error"]
    assert (error["message"] if error else None) == {
        "failed": sentence,
        "killed": None,
        "interrupted": "interrupted",
    }[status]
    assert (f"error: {sentence}" in err) == (status == "failed")
    assert ("continues from the checkpoint" in err) == (status == "interrupted")
    assert "to continue    dfa resume" in dfa("show", str(folder)).out


def breaker(dfa: Dfa, more: str = "") -> list[str]:
    """Write a rule that fails in the second stage, and return the words that choose it."""
    folder = dfa.root / "conf"
    (folder / "rule").mkdir(parents=True)
    (folder / "rule" / "mine.yaml").write_text("_target_: stage_breaker.Mine\nneeds: projection\n")
    (folder / "stage_breaker.py").write_text(
        "import os\n"
        "from dfa_cli.rules import DirectFeedbackAlignment\n"
        "class Mine(DirectFeedbackAlignment):\n"
        "    def projected_signal(self, error, batch):\n"
        f"        if os.environ.get('RANK') == '1'{more}:\n"
        "            raise ValueError('the laser is off')\n"
        "        return error\n"
    )
    return ["--config-dir", str(folder), "rule=mine"]


@pytest.mark.slow
def test_torchrun_starts_a_run_again_whose_stage_failed(dfa: Dfa, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PET_MAX_RESTARTS", "1")  # an option of torchrun
    words = breaker(dfa, " and os.environ['TORCHELASTIC_RESTART_COUNT'] == '0'")
    launcher = torchrun(dfa, "train", *dfa.arguments(*words, *NET, "parallel=pipeline", "epochs=2"))
    _, err = launcher.communicate(timeout=PATIENCE)
    assert launcher.returncode == 0, err
    failed, completed = sorted((run.record for run in dfa.runs()), key=lambda record: record["created"])
    assert (failed["status"], completed["status"]) == ("failed", "completed")
    assert failed["error"]["message"].startswith("Stage 2 of 2 (process ")
    assert failed["error"]["message"].endswith(" raised ValueError: the laser is off.")


@pytest.mark.slow
def test_the_error_of_a_stage_is_the_error_of_the_run(dfa: Dfa) -> None:
    words = dfa.arguments(*breaker(dfa), *NET, "model.hidden=[8,8,8]", *THREE, "epochs=3")
    answer = dfa("train", *words)
    assert answer.code == 2
    assert "Stage 2 of 3" in answer.sentence
    assert answer.sentence.endswith(" raised ValueError: the laser is off.")


@pytest.mark.slow
def test_a_sweep_trains_parallel_runs_and_reuses_them(dfa: Dfa) -> None:
    words = dfa.arguments(
        *NET[:-1], "epochs=1", "rule=bp,shallow", "parallel=pipeline", "parallel.micro_batches=2"
    )
    assert dfa("sweep", *words).code == 0
    assert [run.record["status"] for run in dfa.runs()] == ["completed"] * 2
    assert all(len(run.record["parallel"]["stages"]) == 2 for run in dfa.runs())
    assert dfa("sweep", *words).code == 0
    assert len(dfa.runs()) == 2, "a run was made again"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("alignment_every=1", *THREE), "alignment_every needs the whole model in one process"),
        ((*THREE, "parallel.split=[2,2]"), "With parallel.stages=3 its length must be 3."),
        (("parallel.split=[4,0]",), "the number of blocks of each stage, at least 1, such as [3,2], or null"),
        (("rule=bp", "parallel.schedule=zbv"), "Use parallel.micro_batches=2 or more, parallel.stages=1, or"),
        (("parallel.stages=0",), "parallel.stages is 0. It must be a whole number from 1"),
        (("parallel.split=[3,2]",), "must add up to 4, the number of blocks of the model."),
        (("rule=fa",), "parallel=pipeline: rule=fa goes through the blocks in a way of its own"),
        (("rule=dfa", "parallel.schedule=zbv"), "rule=dfa has no backward pass"),
        (("rule=bp", "activations=recompute"), "parallel=pipeline with rule=bp keeps"),
        (
            ("rule=bp", "parallel.projector=central"),
            "who projects the error, and rule=bp projects nothing. Use parallel.projector=local.",
        ),
        (("rule=shallow", "parallel.projector=central"), "and rule=shallow projects nothing."),
        (("parallel.stages=6",), "model of 6 blocks or more, and this one has 4. Use parallel.stages=4 or fewer."),
        (
            ("parallel.micro_batches=257",),
            "is more than the 256 rows of a batch. Use parallel.micro_batches=256 or fewer, or a larger batch_size.",
        ),
        (("parallel=data", "parallel.replicas=257"), "Use parallel.replicas=256 or fewer"),
        (("rule=bp", "parallel.micro_batches=7", "parallel.schedule=zero-bubble"), "Use parallel.micro_batches=6."),
        (
            ("parallel.micro_batches=2", "model=gcn", "data=digits_graph", "model.hidden=[4]"),
            "The rows of a graph cannot be divided",
        ),
        (
            ("model.hidden=[4]", "parallel.micro_batches=2", "parallel.schedule=zbv", "rule=bp"),
            "of 4 blocks or more, and this one has 2. Use parallel.stages=1, or parallel.schedule",
        ),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(dfa: Dfa, words: tuple[str, ...], sentence: str) -> None:
    kind = () if words[0].startswith("parallel=") else ("parallel=pipeline",)
    answer = dfa.train(*NET, "epochs=1", *kind, *words)
    assert answer.code == 2
    assert sentence in answer.sentence
    assert not dfa.left()


def test_a_graph_in_stages_has_the_bits_of_one_process(dfa: Dfa) -> None:
    words = ("model=gcn", "data=digits_graph", "model.hidden=[8,8]", "epochs=2", "progress=none")
    assert dfa.run(*words, "parallel=pipeline").weights == dfa.run(*words).weights


@pytest.mark.slow
@pytest.mark.parametrize("words", [("rule=bp",), ("device=cpu",), ("device=opu_sim",)], ids="".join)
def test_replicas_train_as_one_process_does(dfa: Dfa, words: tuple[str, ...]) -> None:
    """Sums are added in another order, so the weights differ by rounding only."""
    # 1000 training rows in batches of 333 leave a last batch of one row, of which one process has none.
    words = (*NET, "epochs=2", "batch_size=333", "optimizer=sgd", "optimizer.lr=0.1", *words)
    one, two = dfa.run(*words), dfa.run(*words, "parallel=data")
    expected, weights = (
        load_file(one.folder / "weights.safetensors"),
        load_file(two.folder / "weights.safetensors"),
    )
    for name, value in expected.items():
        if not name.startswith("feedback."):
            assert (weights[name] - value).norm() <= 1e-5 * (1 + value.norm()), name
    for a, b in zip(one.metrics, two.metrics, strict=True):
        assert float(a["train_loss"]) == pytest.approx(float(b["train_loss"]), rel=1e-5)
    counts = ("rows", "coefficients", "steps")
    of_one, of_two = ([(run.record["projection"] or {}).get(name) for name in counts] for run in (one, two))
    assert of_one == of_two
    parameters = sum(value.numel() for name, value in expected.items() if not name.startswith("feedback."))
    for process in two.record["parallel"]["stages"]:
        assert process["sent"]["all_reduce"]["bytes"] == 4 * parameters * process["steps"]
        kinds = {span["kind"] for span in process["timeline"]}
        assert kinds == {"forward", "backward", *(["projection"] if two.record["projection"] else [])}
