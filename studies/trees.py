"""Two checkouts of `dfa`, each used through its command line and the files it writes, and through nothing else.

So a study can set a tree beside one of which every module lies elsewhere.
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
    """A command of a tree ended with another code than 0."""


@dataclass(frozen=True)
class Done:
    """A process that ended well: its seconds from start to end, and what it printed."""

    seconds: float
    output: str


@dataclass(frozen=True)
class Tree:
    """A checkout at `root`, with a folder of its own for what it writes and keeps.

    The data sets it prepares are kept there too: two trees do not read each other's.
    """

    name: str
    root: Path
    folder: Path

    def python(self, *arguments: str) -> Done:
        """`python ARGUMENTS` from start to end. Raises `FailedError` with the last it said when it fails.

        Its working folder is none of the trees: Python would look there before it looks in PYTHONPATH.
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
        """Whether the data set can be had; its files are in the tree's cache then."""
        try:
            self.dfa("data", "fetch", data)
        except FailedError:
            return False
        return True

    def check(self) -> None:
        """Raises `FailedError` when Python would not take the package from here."""
        found = Path(self.python("-c", WHERE).output.strip())
        if self.root not in found.resolve().parents:
            raise FailedError(
                f"{self.root} is no checkout of dfa: Python takes the package from {found.parent}"
            )

    def _environment(self) -> dict[str, str]:
        """Copies of the data sets are taken from beside both trees and from the user's own cache."""
        kept = os.environ.get("DFA_DATA_DIR") or platformdirs.user_cache_dir("dfa")
        beside = [str(root.parent / "shared" / "datasets") for root in dict.fromkeys((self.root, HERE))]
        named = os.environ.get("DFA_DATA_MIRROR")
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(self.root), os.environ.get("PYTHONPATH")))),
            "DFA_DATA_DIR": str(self.folder / "cache"),
            "DFA_DATA_MIRROR": os.pathsep.join(filter(None, (named, kept, *beside))),
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
    """`--this` and `--other` with a temporary folder each, which is gone at the end, after Ctrl-C too."""
    # a kill is to leave as little behind as Ctrl-C does
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
    """The folders of the runs below `folder`, in the order of their names."""
    return sorted(path.parent for path in folder.rglob("run.json"))


def record(run: Path) -> dict[str, Any]:
    return json.loads((run / "run.json").read_text("utf-8"))
