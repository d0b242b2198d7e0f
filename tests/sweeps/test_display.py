"""What a sweep shows in a terminal of 80 columns."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfa_cli.config.command import parse_command
from dfa_cli.config.compose import Composer
from dfa_cli.sweeps.display import SweepDisplay
from dfa_cli.sweeps.grid import Grid
from dfa_cli.sweeps.plan import plan

STATES = ["completed", "running", "elsewhere", "failed", "interrupted", "reused"]


def test_no_count_and_no_advice_is_cut(tmp_path: Path) -> None:
    command = parse_command(["data=digits", "seed=range(12)", "rule=bp,dfa"], "dfa sweep")
    with Composer(command) as composer:
        runs = plan(composer.jobs(command.overrides), tmp_path / "none").runs
    for number, run in enumerate(runs):
        run.state = STATES[number % len(STATES)]
        run.label = "optimizer.lr=0.001 " * 6 + run.label
    display = SweepDisplay(len(runs))
    sweep = Grid(runs, tmp_path, tmp_path, display)
    sweep.stopping = True
    lines = display.lines(sweep, 79)
    assert max(map(len, lines)) <= 79
    shown = " ".join(lines)
    for words in ("4 done", "4 running", "4 run by another sweep", "4 failed", "4 interrupted", "4 reused"):
        assert words in shown
    assert "stopping; Ctrl-C again kills" in shown
    assert len([line for line in lines if line.startswith("  epoch 0/")]) == 4


def test_a_long_job_is_told_in_minutes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = parse_command(["data=digits", "seed=0,1", "rule=bp"], "dfa sweep")
    with Composer(command) as composer:
        runs = plan(composer.jobs(command.overrides), tmp_path / "none").runs
    for run, seconds in zip(runs, (1.25, 1200.0), strict=True):
        run.state, run.seconds, run.accuracy = "completed", seconds, 0.5
    display = SweepDisplay(len(runs))
    display.show(Grid(runs, tmp_path, tmp_path, display))
    first, second = capsys.readouterr().out.splitlines()
    assert first == "[1/2] completed in 1.25 s  seed=0  test 50.0 %"
    assert second == "[2/2] completed in 20.0 min  seed=1  test 50.0 %"
