"""Runs two checkouts of `dfa` side by side, through their command lines and the files that they write.

No module of either is imported, so a study can compare checkouts whose modules have moved.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

HERE = Path(__file__).resolve().parents[1]
WHERE = "import dfa_cli; print(dfa_cli.__file__)"


class FailedError(Exception):
    """A command of a tree failed: its exit code is not 0."""


@dataclass(frozen=True)
class Done:
    """The result of a successful process: its seconds from start to end, and what it printed."""

    seconds: float
    output: str


@dataclass(frozen=True)
class Tree:
    """A checkout at `root`, with a folder of its own for everything that it writes.

    The folder also holds the prepared data sets, so that no tree reads what another one has prepared.
    """

    name: str
    root: Path
    folder: Path

    def python(self, *arguments: str) -> Done:
        """Run `python ARGUMENTS` and time it. Raises `FailedError` with the last lines of the output when it fails.

        The working folder is outside both trees, because Python searches it for packages before PYTHONPATH.
        """
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env=self._environment(),
            check=False,
        )
        seconds = time.perf_counter() - began
        if done.returncode:
            last = "\n".join(done.stdout.strip().splitlines()[-15:])
            raise FailedError(
                f"{self.name}: {' '.join(arguments)} ended with code {done.returncode}:\n{last}"
            )
        return Done(seconds, done.stdout)

    def dfa(self, *words: str) -> Done:
        return self.python("-m", "dfa_cli.cli", *words)

    def has(self, data: str) -> bool:
        """Fetch the data set into the tree's cache, and tell whether that succeeded."""
        try:
            self.dfa("data", "fetch", data)
        except FailedError:
            return False
        return True

    def check(self) -> None:
        """Raise `FailedError` when Python does not import `dfa_cli` from this tree."""
        found = Path(self.python("-c", WHERE).output.strip())
        if self.root not in found.resolve().parents:
            raise FailedError(
                f"{self.root} is not a checkout of dfa: Python imports dfa_cli from {found.parent}"
            )

    def _environment(self) -> dict[str, str]:
        """Return the environment of a command. It finds data sets beside both trees and in the user's cache."""
        user_cache = os.environ.get("DFA_DATA_DIR") or platformdirs.user_cache_dir("dfa")
        beside = [str(root.parent / "shared" / "datasets") for root in dict.fromkeys((self.root, HERE))]
        mirror = os.environ.get("DFA_DATA_MIRROR")
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(self.root), os.environ.get("PYTHONPATH")))),
            "DFA_DATA_DIR": str(self.folder / "cache"),
            "DFA_DATA_MIRROR": os.pathsep.join(filter(None, (mirror, user_cache, *beside))),
            "COLUMNS": "120",
        }


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--other", type=Path, required=True, metavar="TREE", help="the checkout to compare with"
    )
    parser.add_argument(
        "--this", type=Path, default=HERE, metavar="TREE", help="the checkout that is compared (this one)"
    )


@contextmanager
def two_trees(options: argparse.Namespace) -> Iterator[tuple[Tree, Tree]]:
    """Give each tree a temporary folder, and remove both folders at the end, also after Ctrl-C."""
    # SIGTERM must remove the temporary folders too, as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="dfa-study-") as temporary:
        trees = []
        for name, root in (("this", options.this), ("other", options.other)):
            folder = Path(temporary).resolve() / name
            folder.mkdir()
            trees.append(Tree(name, root.resolve(), folder))
            trees[-1].check()
        yield trees[0], trees[1]


def records(folder: Path) -> list[Path]:
    """Return the folders of the runs below `folder`, sorted by name."""
    return sorted(path.parent for path in folder.rglob("run.json"))


def record(run: Path) -> dict[str, Any]:
    return json.loads((run / "run.json").read_text("utf-8"))
