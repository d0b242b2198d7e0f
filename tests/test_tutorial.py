"""docs/tutorial.md, walked through by a newcomer who types what stands there.

The files and the commands are taken from the page itself. Each command runs in a shell of its own, with a `dfa` as
pip makes it; what it prints is held against what the page shows.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from program import PATIENCE, Dfa, Run

from dfa_cli.config.compose import compose_run
from dfa_cli.config.instantiate import build
from dfa_cli.errors import DfaError
from dfa_cli.models import Batch

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "tutorial.md"
# as pip writes it, less the current folder, which `python -m` would look in
CONSOLE_SCRIPT = (
    f"#!{sys.executable}\nimport sys\nfrom dfa_cli.cli import main\nsys.argv[0] = 'dfa'\nsys.exit(main())\n"
)

pytestmark = pytest.mark.slow


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


PARTS = parts(PAGE.read_text(encoding="utf-8"))
COMMANDS = [part for part in PARTS if isinstance(part, Command)]

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


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the newcomer is; `dfa` is on the path."""
    top = tmp_path_factory.mktemp("tutorial")
    (top / "bin").mkdir()
    (top / "bin" / "dfa").write_text(CONSOLE_SCRIPT)
    (top / "bin" / "dfa").chmod(0o755)
    (top / "here").mkdir()
    return top / "here"


@pytest.fixture(scope="module")
def walk(folder: Path) -> dict[str, Answer]:
    """The whole page from top to bottom: what each command answered."""
    environment = {
        **os.environ,
        **Dfa(folder.parent).environment,
        "PATH": f"{folder.parent / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",  # the networks are small, and other tests share the cores
    }
    answers = {}
    for part in PARTS:
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
        answers[part.line] = Answer(done.returncode, done.stdout)
    return answers


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.line)
def test_a_command_prints_what_the_page_shows(command: Command, walk: dict[str, Answer]) -> None:
    answer = walk[command.line]
    assert answer.code == (2 if command.shown.startswith("error: ") else 0), answer.printed
    assert agree(command.shown, answer.printed), f"expected\n{command.shown}\nand got\n{answer.printed}"


def test_the_comparison_notices_what_matters() -> None:
    shown = "dfa 95.0 ± 0.7 3\n...\ntime 3.5 s\n"
    assert agree(shown, "dfa   94.1 ± 0.9  3\nmore\ntime   12.25 s\n")
    assert not agree(shown, "dfa   80.1 ± 0.9  3\nmore\ntime   12.25 s\n"), "another accuracy"
    assert not agree(shown, "dfa   95.0 ± 0.7  2\nmore\ntime   3.5 s\n"), "another count"
    assert not agree(shown, "bp    95.0 ± 0.7  3\nmore\ntime   3.5 s\n"), "another word"
    assert not agree(shown, "dfa   95.0 ± 0.7  3\nmore\ntime   3.5 s\nWarning\n"), "a line more"


def test_the_python_on_the_page_is_formatted_and_clean(walk: dict[str, Answer], folder: Path) -> None:
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
        done = subprocess.run([*command, str(folder / "mine")], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_device_keeps_the_contract_of_projection_devices(walk: dict[str, Answer], folder: Path) -> None:
    contract, own = "tests/devices/test_contract.py", ["--config-dir", str(folder / "mine")]
    assert f"scripts/test {contract} --config-dir" in PAGE.read_text(encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", contract, *own],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "sparse_ternary" in done.stdout


def test_the_rule_with_all_entries_is_direct_feedback_alignment_bit_by_bit(
    walk: dict[str, Answer], folder: Path
) -> None:
    runs = [Run(path.parent) for path in folder.rglob("run.json")]
    of: dict[str, dict[int, Run]] = {"dfa": {}, "top_k": {}}
    for run in runs:
        chosen, config = run.record["choices"], run.record["config"]
        wanted = (chosen["data"], chosen["device"]) == ("digits", "cpu") and config["rule"].get("k") in (
            None,
            10,
        )
        if chosen["rule"] in of and wanted:
            of[chosen["rule"]][config["seed"]] = run
    assert of["dfa"].keys() == of["top_k"].keys() == {0, 1, 2}
    for seed, run in of["dfa"].items():
        assert of["top_k"][seed].repeatable == run.repeatable
        assert of["top_k"][seed].weights == run.weights


def test_the_rule_lets_the_largest_entries_through(
    walk: dict[str, Answer], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "top_k", raising=False)
    job = compose_run(["--config-dir", str(folder / "mine"), "data=digits", "rule=top_k"])
    rule = build(job.config["rule"])
    error = torch.tensor([[0.1, -0.7, 0.6, 0.0], [-0.2, 0.1, 0.3, -0.1]])
    kept = torch.tensor([[0.0, -0.7, 0.6, 0.0], [-0.2, 0.0, 0.3, 0.0]])
    assert torch.equal(rule.projected_signal(error, Batch(error, torch.zeros(2))), kept)
    with pytest.raises(DfaError, match=r"rule\.k is 0. It must be a whole number of at least 1\."):
        build({**job.config["rule"], "k": 0})
    monkeypatch.delitem(sys.modules, "top_k")


def test_all_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", PAGE.read_text(encoding="utf-8"))
    assert links
    for link in links:
        assert (PAGE.parent / link).is_file(), link
