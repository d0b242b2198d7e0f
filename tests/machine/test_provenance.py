"""A record names the commit of the code that made it, and whether that code was changed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dfa_cli.machine import provenance
from dfa_cli.machine.provenance import git_state


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("dfa_cli/a.py", "conf/b.yaml", "docs/results.md"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("1\n")
    me = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "-q"], ["add", "-A"], [*me, "commit", "-q", "-m", "x"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


def test_a_clean_checkout_gives_its_commit(checkout: Path) -> None:
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=checkout, check=True, capture_output=True, text=True
    )
    assert git_state(checkout) == {"commit": head.stdout.strip(), "dirty": False}


@pytest.mark.parametrize(
    ("name", "dirty"),
    [
        ("dfa_cli/a.py", True),
        ("dfa_cli/new.py", True),
        ("conf/b.yaml", True),
        ("docs/results.md", False),
        ("notes.txt", False),
    ],
)
def test_a_checkout_is_dirty_where_a_change_can_change_a_result(
    checkout: Path, name: str, dirty: bool
) -> None:
    (checkout / name).write_text("2\n")
    assert git_state(checkout)["dirty"] is dirty


def test_outside_a_checkout_nothing_is_known(tmp_path: Path) -> None:
    assert git_state(tmp_path) == {"commit": None, "dirty": None}


def test_a_record_has_the_commit_at_the_start_of_the_process(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "git_state", lambda: git_state(checkout))
    provenance.code_state.cache_clear()
    try:
        before = provenance.provenance()["git"]
        (checkout / "dfa_cli" / "a.py").write_text("2\n")
        assert git_state(checkout)["dirty"]
        assert provenance.provenance()["git"] == before == {**before, "dirty": False}
    finally:
        provenance.code_state.cache_clear()
