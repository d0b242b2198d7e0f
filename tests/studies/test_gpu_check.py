"""The check of a GPU runs small on a CPU, and a part that fails does not stop the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studies.performance import gpu_check
from studies.performance.gpu_check import Check, run


def test_each_part_is_measured_and_one_that_fails_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(check: Check) -> None:
        """Break."""
        raise RuntimeError("the card is on fire")

    monkeypatch.setitem(gpu_check.PARTS, "cora", broken)
    check = Check("cpu", dry=True, rounds=2, into=tmp_path)
    assert run(check, ["limits", "cora", "medium"]) == ["medium"]
    more = Check("cpu", dry=True, rounds=2, into=tmp_path)
    more.read()
    assert (more.rates, more.bandwidth) == (check.rates, check.bandwidth)
    assert run(more, ["medium"]) == []
    assert "the card is on fire" in capsys.readouterr().err
    found = json.loads((tmp_path / "figures.json").read_text("utf-8"))
    assert found["failed"] == ["cora"]
    names = [figure["name"] for figure in found["figures"]]
    assert names[0].startswith("copy")
    assert names[-1].startswith("procedural medium"), "the part after the broken one ran"
    for figure in found["figures"]:
        low, high = sorted((figure["fastest"], figure["slowest"]))
        assert 0 < low <= figure["median"] <= high
    page = (tmp_path / "figures.md").read_text("utf-8")
    assert "Failed: cora." in page
    assert all(name in page for name in names)


def test_a_rate_is_fastest_where_it_is_highest(capsys: pytest.CaptureFixture[str]) -> None:
    check = Check("cpu", dry=False, rounds=3)
    check.add("rate", "G/s", [1.0, 3.0, 2.0], goal=">= 2.5 G/s")
    check.add("time", "s", [1.0, 3.0, 2.0], goal="<= 2.5 s")
    assert [(one.fastest, one.slowest) for one in check.figures] == [(3.0, 1.0), (1.0, 3.0)]
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].endswith("**not met**")
    assert printed[1].endswith(": met")
