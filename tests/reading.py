"""Fixtures for tests of the reading commands: a sweep on disk, and a way to call commands as a user does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from run_factory import Factory, sweep
from typer.testing import CliRunner, Result

from dfa_cli.cli import app
from dfa_cli.errors import DfaError

Call = Callable[..., Result]


@pytest.fixture
def factory(tmp_path: Path) -> Factory:
    """Makes runs below the test's own folder `outputs`."""
    return Factory(tmp_path / "outputs")


@pytest.fixture
def swept(tmp_path: Path) -> Path:
    """A folder with three rules, dfa on two devices, six seeds each; one job failed, one is missing."""
    return sweep(tmp_path / "outputs", seeds=6).root


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Calls a command in the test's own folder, as in `call("compare", "--by", "rule")`; a `DfaError` is raised."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str, input: str | None = None) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=input)
        if isinstance(result.exception, DfaError):
            raise result.exception
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoke
