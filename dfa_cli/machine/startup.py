"""Prepares a process of the command line before torch is imported, and lets no signal break that import."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import warnings
from collections.abc import Iterator

from dfa_cli.machine import signals
from dfa_cli.machine.process import seconds_running

# How long a thread of OpenMP waits awake for the others of its team. GNU's library counts turns of a loop, 1,000 of
# which take a few microseconds. Intel's and LLVM's count milliseconds.
WAITING = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "0"}


def prepare_process() -> None:
    """Prepares a process of the command line. Call it before torch is imported. A user's own process never calls it.

    The threads of OpenMP soon sleep when they wait for each other. By default they spin for milliseconds. Where other
    programs use the cores too, a thread then spins while the thread that it waits for cannot run, and a step takes up
    to a hundred times as long. The libraries read the variables when they are loaded. Processes that this one starts
    inherit them. What the user has set stays.

    Other libraries say by a `FutureWarning` what will change in them. Those who type a command need not know it. The
    user's own filters come first: `PYTHONWARNINGS=default` shows these warnings.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        for name, value in WAITING.items():
            os.environ.setdefault(name, value)
    warnings.simplefilter("ignore", FutureWarning, append=True)
    global _is_prepared
    _is_prepared = True


_is_prepared = _has_run = False


def startup_seconds() -> float | None:
    """Returns how long this process took until its first run, when that begins; `None` for a later run.

    Nobody knows it of a user's own process, which may have done other things before.
    """
    global _has_run
    is_first = _is_prepared and not _has_run
    _has_run = True
    return seconds_running() if is_first else None


@contextlib.contextmanager
def import_undisturbed(library: str) -> Iterator[None]:
    """Imports a large library in the block, with Python's cycle collector off and with signals held back.

    The collector would search the objects of the library for cycles again and again, and once more at the exit, though
    they live as long as the process. Without it torch is imported a third of a second sooner. After the import the
    objects are frozen (`gc.freeze`), so that the collector never looks at them again.

    A signal becomes a `KeyboardInterrupt` after the import. Raised inside it, it can pass through C++ code of the
    library, which then aborts the process.

    If the library is imported already, nothing is done, and objects made in the meantime are collected as usual.
    """
    if library in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        with signals.held_back():
            yield
    finally:
        gc.freeze()
        gc.enable()
    signals.raise_if_received()
