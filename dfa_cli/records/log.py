"""Writes the log of a run, `run.log` in its folder."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dfa_cli.machine.files import disk_errors_as_sentences

LOG = "run.log"


@contextmanager
def logged(folder: Path) -> Iterator[None]:
    """Writes what is logged in the block to `run.log` in the folder, as Hydra does for the runs that it starts."""
    with disk_errors_as_sentences(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(folder / LOG)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.INFO)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        handler.close()
