"""Handles the signals that end a run."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from dfa_cli.console.messages import shortest
from dfa_cli.records.run import CHECKPOINT


@contextlib.contextmanager
def terminate_like_ctrl_c() -> Iterator[None]:
    """Treat SIGTERM, with which SLURM ends a job, as Ctrl-C, so that the run is recorded as interrupted."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def report_interruption(folder: Path) -> None:
    """Say where an interrupted run is recorded, and how to continue it where that is possible."""
    message = f"\ninterrupted; what was measured is in {shortest(folder)}"
    if (folder / CHECKPOINT).is_file():
        message += f"\ndfa resume {shortest(folder)} continues from the checkpoint"
    print(message, file=sys.stderr)
