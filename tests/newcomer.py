"""Pages of the documentation, walked through by a newcomer who types what stands there.

The files and the commands are taken from the page itself. Each command runs in a shell of its own, with a `dfa` as
pip makes it; what it prints is held against what the page shows.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from program import PATIENCE, Dfa

ROOT = Path(__file__).resolve().parents[1]
# as pip writes it, less the current folder, which `python -m` would look in
CONSOLE_SCRIPT = (
    f"#!{sys.executable}\nimport sys\nfrom dfa_cli.cli import main\nsys.argv[0] = 'dfa'\nsys.exit(main())\n"
)


@dataclass(frozen=True)
class File:
    name: str
    text: str


@dataclass(frozen=True)
class Command:
    line: str
    shown: str


def parts(page: str) -> list[File | Command]:
    """The files and commands of a page, in order.

    A file is a fenced block behind a line that is its name in backquotes; a command is a line with `$ ` in a
    `console` block, and what follows it up to the next is what it prints.
    """
    found: list[File | Command] = []
    before = ""  # the last line above the block that is not blank
    lines = iter(page.splitlines(keepends=True))
    for line in lines:
        if line.startswith("```"):
            text = "".join(itertools.takewhile(lambda inside: inside != "```\n", lines))
            if line == "```console\n":
                text = re.sub(r" \\\n +", " ", text)  # a command over several lines
                for one in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                    command, _, shown = one.partition("\n")
                    found.append(Command(command, shown))
            else:
                name = re.fullmatch(r"`([\w/.]+)`\n", before)
                assert name, f"a block without a name above it: {text[:60]}"
                found.append(File(name[1], text))
        elif line.strip():
            before = line
    return found


# what no two machines, or no two moments, have in common; numbers with a point are compared by their size
MASKS = {
    "ID": r"(?<![0-9a-z])([0-9a-f]{16}|[0-9a-f]{8})(?![0-9a-z])",
    "DATE": r"\d{4}-\d\d-\d\d|\d\d [A-Z][a-z]{2} \d\d:\d\d",
    "CLOCK": r"\d\d-\d\d-\d\d_",
    "SECONDS": r"(\d+ min )?[\d.]+ m?s\b",
    "MEMORY": r"\d+ MB\b",
    "ENERGY": r"\d+ J\b",  # in proportion to the frames, of which none is shown for an error without large entries
    "EPOCH": r"(?<=epoch \()\d+(?=\))|(?<=best epoch )\d+",
    "SPREAD": r"(?<=± )\d+\.\d",  # of three seeds, and the interval that follows from it
    "INTERVAL": r"\d+\.\d–\d+\.\d",
    "─": r"─+",
}
number = r"(-?\d+\.\d+)"
NUMBER = re.compile(r"(?<![\w.])-?\d+\.\d+")
MOST_POINTS = 5.0  # by which an accuracy in per cent may differ on another processor
MOST_OTHERWISE = 0.3  # the same for the other numbers, losses mostly


def masked(text: str) -> str:
    """On one line, as folding differs from terminal to terminal."""
    text = " ".join(text.split())
    for name, pattern in MASKS.items():
        text = re.sub(pattern, name, text)
    return text


def agree(shown: str, printed: str) -> bool:
    """Whether what was printed is what the page shows; a line of three dots there leaves something out."""
    passages = [masked(passage) for passage in re.split(r"^\.\.\.$", shown, flags=re.MULTILINE)]
    pattern = ".*".join(number.join(map(re.escape, NUMBER.split(one))) for one in passages)
    found = re.fullmatch(pattern, masked(printed))
    expected = [value for passage in passages for value in NUMBER.findall(passage)]
    return found is not None and all(map(close, expected, found.groups()))


def close(one: str, other: str) -> bool:
    difference = abs(float(one) - float(other))
    return difference <= (MOST_POINTS if float(one) > 5 else MOST_OTHERWISE)


@dataclass(frozen=True)
class Answer:
    code: int
    printed: str


def walk_through(page: Sequence[File | Command], top: Path) -> dict[Command, Answer]:
    """Write the files and run the commands of a page in the folder `top/here`: what each command answered."""
    folder = top / "here"
    (top / "bin").mkdir()
    (top / "bin" / "dfa").write_text(CONSOLE_SCRIPT)
    (top / "bin" / "dfa").chmod(0o755)
    folder.mkdir()
    environment = {
        **os.environ,
        **Dfa(top).environment,
        "PATH": f"{top / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",  # the networks are small, and other tests share the cores
    }
    answers: dict[Command, Answer] = {}
    for part in page:
        if isinstance(part, File):
            (folder / part.name).parent.mkdir(parents=True, exist_ok=True)
            (folder / part.name).write_text(part.text, encoding="utf-8")
            continue
        done = subprocess.run(
            ["bash", "-c", part.line],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=PATIENCE,
            check=False,
        )
        answers[part] = Answer(done.returncode, done.stdout)
    return answers


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the newcomer is."""
    return tmp_path_factory.mktemp("newcomer") / "here"


@pytest.fixture(scope="module")
def walk(request: pytest.FixtureRequest, here: Path) -> dict[Command, Answer]:
    """The whole page `PAGE` of a test module from top to bottom: what each command answered."""
    return walk_through(parts(request.module.PAGE.read_text(encoding="utf-8")), here.parent)


def commands(page: Path) -> pytest.MarkDecorator:
    """Run a test with each `command` of a page."""
    found = [part for part in parts(page.read_text(encoding="utf-8")) if isinstance(part, Command)]
    return pytest.mark.parametrize("command", found, ids=[command.line for command in found])


def require_agreement(command: Command, answer: Answer) -> None:
    assert answer.code == (2 if command.shown.startswith("error: ") else 0), answer.printed
    assert agree(command.shown, answer.printed), f"expected\n{command.shown}\nand got\n{answer.printed}"


def require_clean_python(folder: Path) -> None:
    """Hold the files of a page against the format and the lint of this project."""
    # TID253 keeps torch out of the top of this package's modules, and of no others
    for words in (["format", "--check"], ["check", "--extend-ignore", "TID253"]):
        command = [
            sys.executable,
            "-m",
            "ruff",
            *words,
            "--no-cache",
            "--config",
            str(ROOT / "pyproject.toml"),
        ]
        done = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def require_links(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert links
    for link in links:
        assert (page.parent / link).is_file(), link
