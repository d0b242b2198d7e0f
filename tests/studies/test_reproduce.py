"""scripts/reproduce runs an experiment and writes the page, in a copy of the tree."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def reproduce(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "studies.results.reproduce", "--workers", "1", *words],
        env={**os.environ, "PYTHONPATH": str(root)},
        cwd=root,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copy the tree, without its results and with a shorter experiment `quickstart`."""
    for name in ("dfa_cli", "conf", "studies", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "README.md", tmp_path)
    for table in ("results.csv", "results.md"):
        (tmp_path / "docs" / table).unlink(missing_ok=True)
    experiment = tmp_path / "conf" / "experiment" / "quickstart.yaml"
    text = experiment.read_text("utf-8").replace("range(3)", "range(2)").replace("epochs: 30", "epochs: 2")
    experiment.write_text(text, "utf-8")
    return tmp_path


@pytest.mark.slow
def test_runs_what_is_missing_and_writes_the_page_from_records(copy: Path) -> None:
    first = reproduce(copy, "quickstart")
    assert first.returncode == 0, first.stderr
    with open(copy / "docs" / "results.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    # bp and shallow project nothing, so their two devices are one run: 4 runs for each of 2 seeds.
    assert len(rows) == 8
    assert {row["status"] for row in rows} == {"completed"}
    assert "8 lines of [results.csv](results.csv) on 8 different runs" in (
        copy / "docs/results.md"
    ).read_text("utf-8")

    records = sorted((copy / "outputs").rglob("run.json"))
    again = reproduce(copy, "quickstart")
    assert again.returncode == 0, again.stderr
    assert sorted((copy / "outputs").rglob("run.json")) == records, "nothing is run twice"


def test_an_unknown_experiment_is_refused_with_the_list_of_experiments() -> None:
    answer = reproduce(ROOT, "mnist_cf")
    assert answer.returncode == 2
    assert "mnist_cf: not one of" in answer.stderr
    assert "mnist_fc" in answer.stderr
