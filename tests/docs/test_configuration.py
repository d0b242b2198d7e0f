"""docs/configuration.md is what its generator writes, and has every option, key and comment of conf/."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from dfa_cli.config.bounds import BOUNDS
from dfa_cli.config.schema import FACTS

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
FILES = sorted(path for path in CONF.rglob("*.yaml"))
OPTIONS = [path for path in FILES if path.parent != CONF]


def generator(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "docs" / "generate" / "configuration.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_page_is_what_the_generator_makes_now() -> None:
    done = generator(ROOT, "--check")
    assert done.returncode == 0, done.stderr


def test_a_changed_comment_makes_the_page_out_of_date_until_it_is_rewritten(tmp_path: Path) -> None:
    for name in ("conf", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    changed = tmp_path / "conf" / "config.yaml"
    text = changed.read_text().replace("# passes over the training rows", "# how often | it passes")
    changed.write_text(text)

    done = generator(tmp_path, "--check")
    assert done.returncode == 1
    assert done.stderr == (
        "docs/configuration.md is out of date: conf/ has changed. Write it again with "
        ".venv/bin/python docs/generate/configuration.py\n"
    )
    assert "how often" not in (tmp_path / "docs" / "configuration.md").read_text()

    assert generator(tmp_path).returncode == 0
    assert generator(tmp_path, "--check").returncode == 0
    rewritten = (tmp_path / "docs" / "configuration.md").read_text()
    assert "| `epochs` | `100` | a whole number of at least 1 | how often \\| it passes |" in rewritten


def comments(path: Path) -> Iterator[str]:
    """Yield the comments of a file, except those of a defaults list and of Hydra's own keys in the main file."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"^defaults:\n(?:  .*\n)*", "", text, flags=re.MULTILINE)
    if path.parent == CONF:
        text = text.partition("\nhydra:\n")[0].partition("\n")[2]
    for line in text.splitlines():
        found = re.search(r"(?:^|\s)#\s*(.+)$", line)
        if found and not found[1].startswith("@package"):
            yield found[1].strip()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_no_comment_is_lost(path: Path) -> None:
    plain = re.sub(r"[\\`]", "", PAGE)
    for comment in comments(path):
        assert re.sub(r"[\\`]", "", comment) in plain


def leaves(node: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        elif key not in ("defaults", "_partial_"):
            yield f"{prefix}{key}"


def section(heading: str) -> str:
    return re.split(r"^#{2,3} ", PAGE.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: str(path.relative_to(CONF)))
def test_every_option_stands_in_its_group_with_its_keys(path: Path) -> None:
    group = path.parent.relative_to(CONF).as_posix()
    text = section(group)
    assert f"[`{path.stem}`](../conf/{group}/{path.name})" in text
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    for grid in content.pop("grids", []):
        assert " ".join(f"{key}={value}" for key, value in grid.items()) in text
    for key in leaves(content):
        if key in ("_target_", *FACTS) or group == "tuned":
            shown = key
        elif group == "experiment":
            shown = key.removeprefix("hydra.sweeper.params.") + "="
        else:
            shown = (
                key.removeprefix("hydra.") if key.startswith("hydra.") else f"{group.replace('/', '.')}.{key}"
            )
        assert ("class" if shown == "_target_" else shown) in text, f"{shown} is missing"


def test_every_bound_is_on_the_page() -> None:
    for key, bound in BOUNDS.items():
        if key.rpartition(".")[2] in FACTS:  # said by a file about itself, so no key that can be set
            continue
        rows = [line for line in PAGE.splitlines() if line.startswith(f"| `{key}` |")]
        assert rows, key
        assert all(
            bound.words in row for row in rows
        )  # a preset of the hardware may set a key of another group


def test_options_that_share_a_key_stand_side_by_side() -> None:
    assert "| key | `dfa` | `drtp` | has to be |  |" in section("rule")
    assert re.search(r"\| `model.hidden` \| `\[64\]` \| `\[1024, 1024\]` \| `\[8\]` \|", section("model"))
