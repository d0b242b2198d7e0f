"""Handles the signals that end a run."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def terminate_like_ctrl_c() -> Iterator[None]:
    """Treat SIGTERM, with which SLURM ends a job, as Ctrl-C, so that the run is recorded as interrupted."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
