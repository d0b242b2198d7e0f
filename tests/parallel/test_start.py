"""What happens when a process of a parallel run ends, or a signal comes, while the processes start up."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
from program import Dfa
from starting_program import MOMENTS
from test_processes import SECONDS, children
from waiting_program import answer_late

from dfa_cli.errors import DfaError
from dfa_cli.launch.resume import _options_of_resume
from dfa_cli.machine import signals
from dfa_cli.parallel.links import ProcessLink
from dfa_cli.parallel.processes import StageError, joined

PROGRAM = str(Path(__file__).parent / "starting_program.py")


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_stage_that_is_killed_while_it_starts_is_named(tmp_path: Path, moment: str) -> None:
    died, before, threads = tmp_path / "died", set(children(os.getpid())), set(threading.enumerate())
    with (
        pytest.raises(StageError, match=r"^Stage 2 of 2 \(process \d+\) was killed by SIGKILL\.$"),
        joined(2, [PROGRAM, moment, str(died)], "cpu") as team,
    ):
        ProcessLink(team, torch.device("cpu"))
    assert time.time() - float(died.read_text()) < SECONDS
    assert set(children(os.getpid())) <= before
    assert set(threading.enumerate()) <= threads, "one that is left would keep this process from ending"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_heeded_while_a_stage_starts(number: signal.Signals) -> None:
    before = set(children(os.getpid()))
    timer = threading.Timer(1.0, os.kill, (os.getpid(), number))
    began = time.monotonic()
    try:
        with (  # noqa: PT012  (the signal comes while the block is entered)
            signals.raised_as_interrupts(also_ignored=(number,)),
            pytest.raises(KeyboardInterrupt),
        ):
            timer.start()
            with joined(2, ["-c", "import time; time.sleep(600)"], "cpu"):
                pass
        assert signals.received() == number.name
    finally:
        signals.forget()
    assert time.monotonic() - began < SECONDS
    assert set(children(os.getpid())) <= before


def test_a_message_may_take_longer_than_a_connection() -> None:
    assert answer_late() == {"received": 1.0}


@pytest.mark.parametrize(("rank", "sentence"), [("x", "RANK is x"), ("0", "WORLD_SIZE is not set")])
def test_half_of_a_launcher_is_a_sentence(monkeypatch: pytest.MonkeyPatch, rank: str, sentence: str) -> None:
    monkeypatch.setenv("RANK", rank)
    with pytest.raises(DfaError, match=sentence), joined(2, [], "cpu"):
        pass


def test_a_launcher_of_several_processes_needs_a_run_that_is_divided(
    dfa: Dfa, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("data=digits", "model.hidden=[8]", "epochs=1", "progress=none")
    # Those of srun, of a job array, and of torchrun with one process
    for name, value in (("SLURM_PROCID", "1"), ("SLURM_NTASKS", "2"), ("SLURM_ARRAY_TASK_ID", "1")):
        monkeypatch.setenv(name, value)
    run = dfa.run(*words)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert dfa.run(*words).weights == run.weights
    monkeypatch.setenv("WORLD_SIZE", "2")
    for answer in (dfa.train(*words), dfa("rerun", str(run.folder), "--outputs", str(dfa.outputs))):
        assert answer.code == 2
        assert "has started 2 processes, and with parallel=none each would train the whole" in answer.sentence
        assert "Set parallel=pipeline with parallel.stages=2, or parallel=data with" in answer.sentence
    answer = dfa("sweep", *words, "seed=0,1")
    assert answer.code == 2
    assert "has started 2 processes, and each would run the whole sweep." in answer.sentence
    assert answer.sentence.endswith(
        "without the launcher: dfa sweep data=digits 'model.hidden=[8]' epochs=1 progress=none seed=0,1"
    )
    assert len(dfa.runs()) == 2


@pytest.mark.parametrize(
    "advice",
    [
        "Use parallel.stages=2 or fewer, or parallel.schedule=1f1b.",
        "Use parallel.micro_batches=3 or more, parallel.stages=2 or fewer, or parallel.schedule=gpipe.",
    ],
)
def test_resume_advises_only_what_it_takes(advice: str) -> None:
    with (
        pytest.raises(DfaError, match=r"^--stages 3 is too many\. Use --stages 2 or fewer\.$"),
        _options_of_resume(),
    ):
        raise DfaError(f"parallel.stages=3 is too many. {advice}")
