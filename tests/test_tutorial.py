"""docs/tutorial.md, walked through by a newcomer who types what stands there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from newcomer import (
    ROOT,
    Answer,
    Command,
    agree,
    commands,
    require_agreement,
    require_clean_python,
    require_links,
)
from program import Run

from dfa_cli.config.compose import compose_run
from dfa_cli.config.instantiate import build
from dfa_cli.errors import DfaError
from dfa_cli.models import Batch

PAGE = ROOT / "docs" / "tutorial.md"
pytestmark = pytest.mark.slow


@commands(PAGE)
def test_a_command_prints_what_the_page_shows(command: Command, walk: dict[Command, Answer]) -> None:
    require_agreement(command, walk[command])


def test_the_comparison_notices_what_matters() -> None:
    shown = "dfa 95.0 ± 0.7 3\n...\ntime 3.5 s\n"
    assert agree(shown, "dfa   94.1 ± 0.9  3\nmore\ntime   12.25 s\n")
    assert not agree(shown, "dfa   80.1 ± 0.9  3\nmore\ntime   12.25 s\n"), "another accuracy"
    assert not agree(shown, "dfa   95.0 ± 0.7  2\nmore\ntime   3.5 s\n"), "another count"
    assert not agree(shown, "bp    95.0 ± 0.7  3\nmore\ntime   3.5 s\n"), "another word"
    assert not agree(shown, "dfa   95.0 ± 0.7  3\nmore\ntime   3.5 s\nWarning\n"), "a line more"


def test_the_python_on_the_page_is_formatted_and_clean(walk: dict[Command, Answer], here: Path) -> None:
    require_clean_python(here / "mine")


def test_the_device_keeps_the_contract_of_projection_devices(walk: dict[Command, Answer], here: Path) -> None:
    contract, own = "tests/devices/test_contract.py", ["--config-dir", str(here / "mine")]
    assert f"scripts/test {contract} --config-dir" in PAGE.read_text(encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", contract, *own],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "sparse_ternary" in done.stdout


def test_the_rule_with_all_entries_is_direct_feedback_alignment_bit_by_bit(
    walk: dict[Command, Answer], here: Path
) -> None:
    runs = [Run(path.parent) for path in here.rglob("run.json")]
    of: dict[str, dict[int, Run]] = {"dfa": {}, "top_k": {}}
    for run in runs:
        chosen, config = run.record["choices"], run.record["config"]
        wanted = (chosen["data"], chosen["device"]) == ("digits", "cpu") and config["rule"].get("k") in (
            None,
            10,
        )
        if chosen["rule"] in of and wanted:
            of[chosen["rule"]][config["seed"]] = run
    assert of["dfa"].keys() == of["top_k"].keys() == {0, 1, 2}
    for seed, run in of["dfa"].items():
        assert of["top_k"][seed].repeatable == run.repeatable
        assert of["top_k"][seed].weights == run.weights


def test_the_rule_lets_the_largest_entries_through(
    walk: dict[Command, Answer], here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "top_k", raising=False)
    job = compose_run(["--config-dir", str(here / "mine"), "data=digits", "rule=top_k"])
    rule = build(job.config["rule"])
    error = torch.tensor([[0.1, -0.7, 0.6, 0.0], [-0.2, 0.1, 0.3, -0.1]])
    kept = torch.tensor([[0.0, -0.7, 0.6, 0.0], [-0.2, 0.0, 0.3, 0.0]])
    assert torch.equal(rule.projected_signal(error, Batch(error, torch.zeros(2))), kept)
    with pytest.raises(DfaError, match=r"rule\.k is 0. It must be a whole number of at least 1\."):
        build({**job.config["rule"], "k": 0})
    monkeypatch.delitem(sys.modules, "top_k")


def test_all_links_lead_somewhere() -> None:
    require_links(PAGE)
