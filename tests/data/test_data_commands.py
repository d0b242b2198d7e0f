"""`dfa data list | fetch | verify`."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_data import CONTENT, Server, put
from typer.testing import CliRunner, Result

from dfa_cli.commands.data import app
from dfa_cli.data import catalogue, source
from dfa_cli.data.catalogue import RawFile
from dfa_cli.errors import DfaError


@pytest.fixture(autouse=True)
def only_toy(
    toy: tuple[RawFile, Server, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[RawFile, Server, Server]:
    """Leave only the data sets `toy` and `digits`, an empty cache and an empty mirror."""
    for name in set(catalogue.CATALOGUE) - {"toy", "digits"}:
        monkeypatch.delitem(catalogue.CATALOGUE, name)
    monkeypatch.setenv("DFA_DATA_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("DFA_DATA_MIRROR", str(tmp_path / "mirror"))
    monkeypatch.setattr(source, "DEFAULT_MIRRORS", ())
    return toy


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def line(result: Result, name: str) -> list[str]:
    """Split the output line that begins with `name` into words."""
    return next(text.split() for text in result.output.splitlines() if text.startswith(name))


def test_list_says_where_the_files_are(tmp_path: Path, only_toy: tuple[RawFile, Server, Server]) -> None:
    _, first, _ = only_toy
    assert line(run("list"), "toy") == ["toy", "samples", "2", "3", "2", "to", "be", "fetched"]
    assert line(run("list"), "digits")[-1] == "embedded"
    put(tmp_path / "mirror", CONTENT)
    assert line(run("list"), "toy")[-2:] == ["mirror", str(tmp_path / "mirror")]
    put(tmp_path / "cache", CONTENT)
    assert line(run("list"), "toy")[-1] == "cached"
    assert not first.asked


def test_list_asks_the_network_only_with_probe(only_toy: tuple[RawFile, Server, Server]) -> None:
    _, first, _ = only_toy
    assert line(run("list", "--probe"), "toy")[-3:] == ["to", "be", "fetched"]
    assert first.asked
    first.files = {}
    assert line(run("list", "--probe"), "toy")[-2:] == ["not", "reachable"]


def test_fetch_fills_the_cache(tmp_path: Path) -> None:
    result = run("fetch", "toy")
    assert result.exit_code == 0
    assert result.output == "toy: in the cache, 1 file checked\n"
    assert (tmp_path / "cache/Toy/raw/toy.bin").read_bytes() == CONTENT


def test_fetch_all_goes_on_after_a_failure(
    only_toy: tuple[RawFile, Server, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    only_toy[1].files = {}
    monkeypatch.setitem(catalogue.CATALOGUE, "last", catalogue.CATALOGUE["digits"])
    result = run("fetch", "all")
    assert isinstance(result.exception, DfaError)
    assert "toy.bin of data set toy cannot be had" in str(result.exception)
    assert result.output.splitlines()[-1] == "digits: embedded, nothing to fetch"


@pytest.mark.parametrize("command", ["fetch", "verify"])
def test_an_unknown_name_is_refused_before_anything_is_done(command: str, tmp_path: Path) -> None:
    result = run(command, "digits", "toi")
    assert isinstance(result.exception, DfaError)
    assert "did you mean toy?" in str(result.exception)
    assert not (tmp_path / "cache").exists()


def test_verify_reports_missing_good_and_corrupt_copies(tmp_path: Path) -> None:
    result = run("verify")
    assert result.exit_code == 0
    assert line(result, "toy")[:3] == ["toy", "toy.bin", "missing"]
    put(tmp_path / "cache", CONTENT)
    result = run("verify", "toy")
    assert result.exit_code == 0
    assert line(result, "toy")[:3] == ["toy", "toy.bin", "ok"]
    bad = put(tmp_path / "mirror", CONTENT[:-1], "toy.bin.gz")
    result = run("verify", "toy")
    assert result.exit_code == 1
    assert f"corrupt: {bad}: expected SHA-256" in result.stderr
