"""docs/architecture.md names files that exist, and its picture is the one that its generator draws."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def generator(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(root / "docs" / "generate" / "architecture.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def section(heading: str) -> str:
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"docs/architecture.md has no section {heading}"
    return found[1]


def steps(heading: str) -> list[str]:
    """Return the items of the numbered list of a section."""
    return re.split(r"^\d+\. ", section(heading), flags=re.MULTILINE)[1:]


def test_the_picture_is_what_the_generator_draws_now() -> None:
    done = generator(ROOT, "--check")
    assert done.returncode == 0, done.stderr


def test_a_changed_table_makes_the_picture_out_of_date_until_it_is_drawn_again(tmp_path: Path) -> None:
    for name in ("dfa_cli", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    table = tmp_path / "tests" / "architecture.yaml"
    table.parent.mkdir()
    text = (ROOT / "tests" / "architecture.yaml").read_text(encoding="utf-8")
    table.write_text(text.replace("imports: [errors, machine]", "imports: [errors]"), encoding="utf-8")

    done = generator(tmp_path, "--check")
    assert done.returncode == 1
    assert done.stderr == (
        "docs/images/architecture.svg is out of date: tests/architecture.yaml or a room has changed. "
        "Draw it again with .venv/bin/python docs/generate/architecture.py\n"
    )
    assert generator(tmp_path).returncode == 0
    assert generator(tmp_path, "--check").returncode == 0


def test_a_room_without_a_place_in_the_picture_is_named(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs" / "generate", tmp_path / "docs" / "generate")
    table = tmp_path / "tests" / "architecture.yaml"
    table.parent.mkdir()
    text = (ROOT / "tests" / "architecture.yaml").read_text(encoding="utf-8")
    table.write_text(text + "  cellar:\n    imports: []\n    instead: nothing\n", encoding="utf-8")

    done = generator(tmp_path, "--check")
    assert (done.returncode, done.stderr) == (
        1,
        "cellar must be both in tests/architecture.yaml and in PLACES of docs/generate/architecture.py.\n",
    )


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", PAGE))))
def test_every_linked_file_exists(target: str) -> None:
    assert (ROOT / "docs" / target).exists()


ROWS = [line for line in section("Where is …?").splitlines() if "](" in line]


@pytest.mark.parametrize("row", ROWS, ids=[row.split("|")[1].strip() for row in ROWS])
def test_what_to_look_for_is_in_the_file(row: str) -> None:
    *_, file, word, _ = row.split("|")
    (path,) = re.findall(r"\]\((.+)\)", file)
    text = (ROOT / "docs" / path).read_text(encoding="utf-8")
    assert re.search(rf"^(class|def) {word.strip().strip('`')}\b", text, re.MULTILINE)


@pytest.mark.parametrize("heading", ["The way of a run", "The way of a record", "The way of a sweep"])
def test_every_step_of_a_way_names_files_of_its_room(heading: str) -> None:
    room = ""
    for step in steps(heading):
        if first := re.match(r"`(\w+)/`: ", step):
            room = first[1]
        for name in re.findall(r"`([\w/]+\.py)`", step):
            path = name if "/" in name or name == "experiment.py" else f"{room}/{name}"
            assert (ROOT / "dfa_cli" / path).is_file(), (
                f"{heading} names {name}, but there is no dfa_cli/{path}"
            )


def test_a_run_visits_only_the_room_of_the_loop_twice() -> None:
    rooms = [step.partition(":")[0].strip("`") for step in steps("The way of a run")]
    assert len(rooms) == len(set(rooms)) + 1
    assert rooms.count("training/") == 2
