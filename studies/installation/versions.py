"""Makes environments with the oldest, the pinned and the newest versions of what dfa needs, and tries dfa in each.

    scripts/versions                                          all three, with the whole suite
    scripts/versions newest --python python3.12               one, with another Python
    scripts/versions oldest newest -- tests/models -n 1       two, with these arguments of pytest

`oldest` has the lower bounds of pyproject.toml, `pinned` the versions of constraints.txt, and `newest` what pip chooses
without either. In each environment pytest runs, and one training, whose error output must be empty. At the end a table
in Markdown is printed. An environment that cannot be made here stands in it, with the reason. The exit code is 1 when
anything has failed.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from dfa_cli.machine.files import write_atomically
from dfa_cli.machine.provenance import PACKAGES
from studies.installation.wheels import build_wheel, last_word, requirements_of

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("oldest", "pinned", "newest")
TOOLS = ("test", "dev")  # extras that only those who change dfa install
SUITE = ("-n", "2", "--dist", "loadfile", "tests")
SHOWN = (*PACKAGES, "matplotlib", "typer")
# gat takes its convolution from torch_geometric, which imports much of torch that the other models do not need.
TRAINING = ("train", "model=gat", "data=digits_graph", "rule=dfa", "epochs=50", "progress=none")
VERSIONS = """
import importlib.metadata, json, platform, sys
found = {name: importlib.metadata.version(name) for name in sys.argv[1:]}
print(json.dumps({"Python": platform.python_version(), **found}))
"""


class FailedError(Exception):
    """A step failed. The message says why, in a clause."""


@dataclass
class Trial:
    """What became of one environment. `notes`: sentences and lines for below the table."""

    kind: str
    versions: dict[str, str] = field(default_factory=dict)
    environment: str = "not made"
    tests: str = ""
    training: str = ""
    notes: list[str] = field(default_factory=list)
    failed: bool = False

    def fail(self, *notes: str) -> None:
        self.failed = True
        self.notes += notes


def lower_bounds(requirements: Iterable[Requirement]) -> list[str]:
    """Return the oldest version of each requirement as a pin. The tools of those who change dfa are left out."""
    pins = []
    for requirement in requirements:
        lowest = [bound.version for bound in requirement.specifier if bound.operator in (">=", "==", "~=")]
        marker = requirement.marker
        is_tool = (
            marker
            and not marker.evaluate({"extra": ""})
            and any(marker.evaluate({"extra": e}) for e in TOOLS)
        )
        if lowest and not is_tool:
            pins.append(f"{requirement.name}=={max(lowest, key=Version)}")
    return pins


def attempt(kind: str, folder: Path, python: str, extras: str, pytest: Sequence[str]) -> Trial:
    """Make an environment below `folder`, or take the one that was made there, and try dfa in it."""
    trial, room = Trial(kind), folder / kind
    room.mkdir(parents=True, exist_ok=True)
    inside, made = room / "environment" / "bin", room / "made"
    if not made.exists():
        began = time.monotonic()
        try:
            _make(kind, room, python, extras)
        except FailedError as error:
            trial.environment = "cannot be made"
            trial.fail(f"{kind}: the environment cannot be made here: {error}")
            return trial
        size = _size(room / "environment") / 1e9
        made.write_text(f"{size:.1f} GB in {time.monotonic() - began:.0f} s", "utf-8")
    trial.environment = made.read_text("utf-8")
    trial.versions = json.loads(_output([inside / "python", "-c", VERSIONS, *SHOWN], room))
    _test(trial, inside, room, pytest)
    _train(trial, inside, room)
    return trial


def _make(kind: str, room: Path, python: str, extras: str) -> None:
    constraints = ROOT / "constraints.txt"
    if kind == "oldest":
        constraints = room / "constraints.txt"
        build_wheel(ROOT, room, "--no-index")
        (wheel,) = room.glob("dfa_cli-*.whl")
        constraints.write_text("\n".join(lower_bounds(requirements_of(wheel))) + "\n", "utf-8")
    environment = room / "environment"
    _output([python, "-m", "venv", "--clear", "--without-pip", environment], room)
    pip = [sys.executable, "-m", "pip", "--python", environment / "bin" / "python", "install", "--no-input"]
    # Python compiles what is imported. Compiling all that is installed would take longer than installing it.
    pip += ["--no-compile", "--disable-pip-version-check", "--progress-bar", "off"]
    pip += ["--upgrade"] if kind == "newest" else ["--constraint", constraints]
    # As in scripts/setup: the build tools first, so that no build fetches its own. A test calls the environment's pip.
    _output([*pip, "hatchling", "setuptools", "pip"], room)
    _output([*pip, "--no-build-isolation", "--editable", f"{ROOT}[{extras}]", "pytest", "pytest-xdist"], room)


def _test(trial: Trial, inside: Path, room: Path, pytest: Sequence[str]) -> None:
    command = [inside / "python", "-m", "pytest", "-c", ROOT / "pyproject.toml", "-q", "-rfE", *pytest]
    code, output = _call([*command, "-p", "no:cacheprovider"], room, ROOT)
    lines = output.splitlines() or [""]
    closing = re.search(r"\d+ (passed|failed|skipped|error).*?(?= in [\d.]+s)", lines[-1])
    trial.tests = closing[0] if closing else f"pytest ended with {code}"
    if code:
        failures = [line.strip() for line in lines if line.startswith(("FAILED ", "ERROR "))]
        trial.fail(*(f"{trial.kind}: {line}" for line in failures or lines[-3:]))


def _train(trial: Trial, inside: Path, room: Path) -> None:
    outputs = room / "outputs"
    shutil.rmtree(outputs, ignore_errors=True)
    command = [inside / "dfa", TRAINING[0], f"outputs={outputs}", *TRAINING[1:]]
    began = time.monotonic()
    done = subprocess.run(command, cwd=room, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    seconds = time.monotonic() - began
    (room / "training.log").write_text(done.stdout + done.stderr, "utf-8")
    if done.returncode:
        trial.training = f"failed with {done.returncode}"
        trial.fail(f"{trial.kind}: {last_word(done.stderr)}")
        return
    (record,) = outputs.rglob("run.json")
    accuracy = json.loads(record.read_text("utf-8"))["result"]["test_accuracy_at_last_epoch"]
    trial.training = f"{100 * accuracy:.1f} % in {seconds:.0f} s"
    if done.stderr.strip():
        trial.fail(*(f"{trial.kind}: the training printed: {line}" for line in done.stderr.splitlines()))


def _output(command: Sequence[str | Path], room: Path) -> str:
    code, output = _call(command, room, room)
    if code:
        raise FailedError(last_word(output))
    return output


def _call(command: Sequence[str | Path], room: Path, cwd: Path) -> tuple[int, str]:
    """Run a command and add its output to the log of the environment. Returns the exit code and the output."""
    command = [str(word) for word in command]
    with (room / "log").open("a+", encoding="utf-8") as log:
        log.write(f"$ {' '.join(command)}\n")
        log.flush()
        start = log.tell()
        done = subprocess.run(
            command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
        log.seek(start)
        return done.returncode, log.read()


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*"))


def table(trials: Sequence[Trial]) -> str:
    """Return the Markdown table of the environments, with the notes below it."""
    kinds = [trial.kind for trial in trials]
    rows = [[name, *(trial.versions.get(name, "") for trial in trials)] for name in ("Python", *SHOWN)]
    for what in ("environment", "tests", "training"):
        rows.append([what, *(getattr(trial, what) for trial in trials)])
    widths = [max(map(len, column)) for column in zip(["", *kinds], *rows, strict=True)]
    rule = ["-" * width for width in widths]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in (["", *kinds], rule, *rows)]
    notes = [f"- {note}" for trial in trials for note in trial.notes]
    return "\n".join([*lines, *([""] if notes else []), *notes]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="scripts/versions", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS) + " (default: all)")
    parser.add_argument(
        "--python", default=sys.executable, help="the Python of the environments (that of .venv)"
    )
    parser.add_argument(
        "--extras", default="test", help="the extras of dfa to install (test, which has all others)"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep environments and logs in FOLDER, and use them again"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table to FILE too")
    given = parser.parse_args(words[:cut])
    if unknown := [kind for kind in given.kinds if kind not in KINDS]:
        parser.error(f"'{unknown[0]}' is not one of {', '.join(KINDS)}")
    if shutil.which(given.python) is None:
        parser.error(f"--python is '{given.python}', which does not run")
    folder = given.keep.absolute() if given.keep else Path(tempfile.mkdtemp(prefix="dfa-versions-")).resolve()
    trials = []
    try:
        for kind in given.kinds or KINDS:
            print(
                f"{kind}: making the environment, then testing; the log is {folder / kind / 'log'}",
                file=sys.stderr,
            )
            trials.append(attempt(kind, folder, given.python, given.extras, words[cut + 1 :] or SUITE))
            if not given.keep:
                shutil.rmtree(folder / kind / "environment", ignore_errors=True)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        if not given.keep and not any(trial.failed for trial in trials):
            shutil.rmtree(folder)
    print(table(trials), end="")
    if given.markdown:
        write_atomically(given.markdown, table(trials))
    sys.exit(1 if any(trial.failed for trial in trials) else 0)


if __name__ == "__main__":
    main()
