"""What a sweep shows in a terminal of 80 columns."""

from __future__ import annotations

from pathlib import Path

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
