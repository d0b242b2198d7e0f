"""Names of keys that are not in use any more, wherever somebody may still write one: answered with the new name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dfa_cli.config.command import parse_command
from dfa_cli.config.compose import Composer, compose_run, compose_sweep
from dfa_cli.config.identity import RENAMED, identity, modernised
from dfa_cli.config.instantiate import build
from dfa_cli.config.spec import RunSpec
from dfa_cli.errors import DfaError
from dfa_cli.records.keys import Keys
from dfa_cli.records.query import Query
from dfa_cli.records.run import Run
from dfa_cli.rules import DirectFeedbackAlignment

Compose = Callable[..., RunSpec]
DFA = "_target_: dfa_cli.rules.DirectFeedbackAlignment\nneeds: projection\nscale: 1.0\n"
STATISTICAL = "_target_: dfa_cli.devices.opu.Statistical\nof:\n  _target_: dfa_cli.devices.opu.OffAxis\n"


class Outsider(DirectFeedbackAlignment):
    """As people write it who have a class of their own, with the options of `dfa` in its YAML file."""

    def __init__(self, k: int = 2, **options: Any):
        super().__init__(**options)
        self.k = k


@pytest.fixture(scope="module")
def job() -> Iterator[Compose]:
    with Composer(parse_command([], "dfa train")) as composer:
        yield lambda *words: composer.run(words).spec


def says(old: str) -> str:
    """What is said of an old name, or of a key inside what has it, as a pattern."""
    key = next(key for key in RENAMED if f"{old}.".startswith(f"{key}."))
    return re.escape(f"{old} is called {RENAMED[key]}{old.removeprefix(key)} now.") + "$"


@pytest.mark.parametrize(
    ("word", "old"),
    [
        ("rule.share=true", "rule.share"),
        ("+rule.share=true", "rule.share"),
        ("rule.spread=true", "rule.spread"),
        ("+rule.spread=true", "rule.spread"),
        ("~rule.spread", "rule.spread"),
        ("decay=hidden", "decay"),
        ("+decay=hidden", "decay"),
        ("++decay=hidden", "decay"),
        ("~decay", "decay"),
        ("device.readout.of.headroom=2", "device.readout.of.headroom"),
        ("+device.readout.of.headroom=2", "device.readout.of"),
        ("~device.readout.of", "device.readout.of"),
        ("device.readout.wrapped.pixels_per_mode=6", "device.readout.wrapped.pixels_per_mode"),
    ],
)
def test_on_a_command_line(word: str, old: str, job: Compose) -> None:
    with pytest.raises(DfaError, match=f"^{says(old)}"):
        job("data=digits", "device=opu_sim", word)


def test_in_a_sweep() -> None:
    with pytest.raises(DfaError, match=f"^{says('rule.share')}"):
        compose_sweep(["data=digits", "rule.share=true,false"])


@pytest.mark.parametrize(
    ("file", "text", "words", "old"),
    [
        ("experiment/own.yaml", "# @package _global_\ndecay: hidden\n", ["experiment=own"], "decay"),
        ("tuned/own.yaml", "# @package _global_\ndecay: hidden\n", ["tuned=own"], "decay"),
        (
            "experiment/own.yaml",
            "# @package _global_\nrule:\n  spread: true\n",
            ["experiment=own"],
            "rule.spread",
        ),
        (
            "experiment/own.yaml",
            "# @package _global_\ngrids:\n  - rule.spread: true,false\n",
            ["experiment=own"],
            "rule.spread",
        ),
        ("rule/own.yaml", f"{DFA}share: true\n", ["rule=own"], "rule.share"),
        (
            "device/readout/own.yaml",
            STATISTICAL,
            ["device=opu_sim", "device/readout=own"],
            "device.readout.of",
        ),
    ],
)
def test_in_a_yaml_file_of_ones_own(file: str, text: str, words: list[str], old: str, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(text)
    where = "" if "grids" in text else rf"\S+{file}, line \d: "
    with pytest.raises(DfaError, match=f"^{where}{says(old)}"):
        compose_sweep(["--config-dir", str(tmp_path), "data=digits", *words])


@pytest.mark.parametrize(
    ("typed", "old"),
    [
        ("decay", "decay"),
        ("rule.share", "rule.share"),
        ("share", "rule.share"),
        ("spread", "rule.spread"),
        ("device.readout.of.headroom", "device.readout.of.headroom"),
        ("of.headroom", "device.readout.of.headroom"),
    ],
)
def test_asked_of_records(typed: str, old: str, job: Compose) -> None:
    keys = Keys([Run("", {"id": "a", "config": job("data=digits", "device=opu_sim").config})])
    with pytest.raises(DfaError, match=f"^{says(old)}"):
        keys.resolve(typed)
    with pytest.raises(DfaError, match=f"^{says(old)}"):
        Query(f"{typed}=2", keys)


def test_in_the_words_of_a_program() -> None:
    node = {"_target_": f"{__name__}.Outsider", "k": 1, "spread": True}
    with pytest.raises(DfaError, match=f"^spread is no key of .*; {says('rule.spread')}"):
        build(node)
    assert build({"_target_": f"{__name__}.Outsider", "spread_over_edges": True}).spread_over_edges
    with pytest.raises(DfaError, match=r"^loud is no key of .*; it takes k, scale, share_columns, spread"):
        build({"_target_": f"{__name__}.Outsider", "loud": 1})


def test_the_keys_of_a_class_of_ones_own_are_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rule").mkdir()
    (tmp_path / "rule" / "own.yaml").write_text(
        "_target_: theirs.Rule\nneeds: projection\nshare: true\nspread: false\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "theirs.py").write_text("class Rule: ...\n")
    words = ["--config-dir", str(tmp_path), "data=digits", "rule=own", "rule.share=false"]
    config = compose_run(words).config
    assert config["rule"] == {
        "_target_": "theirs.Rule",
        "needs": "projection",
        "share": False,
        "spread": False,
    }
    assert modernised(config)["rule"] == config["rule"]


def test_a_key_keeps_its_place_in_a_record(job: Compose) -> None:
    """So that a comparison of old runs names what they share in the order of `conf/`, as that of new ones does."""
    today = job("data=digits", "device=opu_sim").config

    def as_then(node: dict[str, Any]) -> dict[str, Any]:
        back = {new.rpartition(".")[2]: old.rpartition(".")[2] for old, new in RENAMED.items()}
        return {
            back.get(key, key): as_then(held) if isinstance(held, dict) else held
            for key, held in node.items()
        }

    then = as_then(today)
    assert {"decay", "rule"} <= then.keys()
    assert {"share", "spread"} <= then["rule"].keys()
    assert "of" in then["device"]["readout"]
    assert modernised(then) == today
    assert list(modernised(then)) == list(today)
    assert list(modernised(then)["rule"]) == list(today["rule"])
    assert identity(then) == identity(today)
