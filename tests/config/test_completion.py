"""Completion of overrides by the Tab key, as each shell asks for it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dfa_cli.config.completion import complete_override
from dfa_cli.config.paths import ONLY_PLANNED, conf_dir

RULES = sorted(path.stem for path in (conf_dir() / "rule").glob("*.yaml"))


def words(before: list[str], word: str) -> list[str]:
    return [completion for completion, _ in complete_override(before, word)]


@pytest.mark.parametrize(
    "path",
    sorted(path for path in conf_dir().glob("*/") if path.name not in ONLY_PLANNED),
    ids=lambda path: path.name,
)
def test_every_group_offers_every_option(path) -> None:
    options = sorted(one.stem for one in path.glob("*.yaml"))
    assert words(["train"], f"{path.name}=") == [f"{path.name}={option}" for option in options]


@pytest.mark.parametrize(
    ("before", "word", "expected"),
    [
        (["train"], "rule=sha", ["rule=shallow"]),
        (["train"], "rule=bp,dfa,sh", ["rule=bp,dfa,shallow"]),
        (["train"], "see", ["seed="]),
        (["sweep"], "checkpoint_e", ["checkpoint_every="]),
        (["train"], "optimizer.mo", ["optimizer.momentum="]),
        # only one group fits, so its options are offered: the shell would put a blank behind a lone `rule=`
        (["train"], "ru", [f"rule={rule}" for rule in RULES]),
        (["train", "rule", "="], "d", [rule for rule in RULES if rule[0] == "d"]),  # bash splits the word
        (["train", "rule"], "", RULES),
        (["train"], "nothing=", []),
        (["train"], "../rule=", []),
        (
            ["train"],
            "device/read",
            [f"device/readout={path.stem}" for path in sorted((conf_dir() / "device/readout").glob("*"))],
        ),
    ],
)
def test_completions(before: list[str], word: str, expected: list[str]) -> None:
    assert words(before, word) == expected


def test_a_sweep_is_not_offered_the_same_option_twice() -> None:
    assert "rule=bp,bp" not in words(["train"], "rule=bp,")


def test_groups_come_with_their_options_and_keys_with_their_comment() -> None:
    about = dict(complete_override(["train"], ""))
    assert about["device/camera="] == "cmos, ideal"
    assert about["patience="].startswith("stop after this many epochs")
    assert not {"hydra=", "defaults=", "run_id="} & set(about)


SHELLS = {
    "bash": (
        {"_DFA_COMPLETE": "complete_bash", "COMP_WORDS": "dfa train rule = sh", "COMP_CWORD": "4"},
        "shallow",
    ),
    "zsh": ({"_DFA_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "dfa train rule=sh"}, '"rule=shallow"'),
    "fish": (
        {
            "_DFA_COMPLETE": "complete_fish",
            "_TYPER_COMPLETE_ARGS": "dfa sweep rule=sh",
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        },
        "rule=shallow",
    ),
}


@pytest.mark.parametrize(("asked", "answer"), SHELLS.values(), ids=SHELLS)
def test_every_shell_is_answered_without_torch_or_hydra(asked: dict[str, str], answer: str) -> None:
    code = """
import atexit, sys
sys.argv = ["dfa"]
atexit.register(lambda: print(sorted({"torch", "hydra", "omegaconf"} & set(sys.modules)), file=sys.stderr))
from dfa_cli.cli import app
app(prog_name="dfa")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **asked}, timeout=60
    )
    assert answer in done.stdout
    assert len(done.stdout.strip().splitlines()) == 1
    assert done.stderr.strip() == "[]"
