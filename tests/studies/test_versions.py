"""scripts/versions: which versions are the oldest, and that an environment that cannot be made stands in the table."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from studies.installation.versions import ROOT, lower_bounds


def test_the_oldest_versions_are_the_lower_bounds_but_for_the_tools() -> None:
    requirements = [
        "torch>=2.5",
        "hydra-core<1.4,>=1.3.2",
        "alembic; extra == 'mlflow'",
        "pandas>=2.1; extra == 'pandas'",
        "ruff>=0.12; extra == 'test'",
        "pre-commit>=4; extra == 'dev'",
    ]
    assert lower_bounds(map(Requirement, requirements)) == ["torch==2.5", "hydra-core==1.3.2", "pandas==2.1"]


def test_an_environment_that_cannot_be_made_is_in_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("NO_INDEX", "1"), ("FIND_LINKS", str(tmp_path))):
        monkeypatch.setenv(f"PIP_{name}", value)
    words = ["oldest", "--keep", str(tmp_path / "kept"), "--markdown", str(tmp_path / "table.md")]
    command = [sys.executable, "-m", "studies.installation.versions", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "cannot be made" in done.stdout
    assert "oldest: the environment cannot be made here: No matching distribution found for" in done.stdout
    assert (tmp_path / "table.md").read_text() == done.stdout
