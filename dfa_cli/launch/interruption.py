"""Tells the user what an interrupted run has left."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from dfa_cli.console.messages import shortest
from dfa_cli.machine import signals
from dfa_cli.records.curves import rows_until
from dfa_cli.records.run import CHECKPOINT, RECORD


@contextlib.contextmanager
def interruption_reported(folder: Path, config_dir: str | None = None) -> Iterator[None]:
    """Say where an interrupted run is recorded, and how to continue it where that is possible.

    After a signal every exception of the block becomes `KeyboardInterrupt`.
    """
    try:
        yield
    except BaseException as error:
        if not (signals.received() or isinstance(error, KeyboardInterrupt)):
            raise
        message = "\ninterrupted"
        if (folder / RECORD).is_file():
            measured = (
                "what was measured is in" if rows_until(folder) else "nothing was measured yet; the record is"
            )
            message += f"; {measured} {shortest(folder)}"
        if (folder / CHECKPOINT).is_file():
            code = f" --config-dir {shlex.quote(config_dir)}" if config_dir else ""
            message += f"\ndfa resume {shortest(folder)}{code} continues from the checkpoint"
        elif rows_until(folder):
            message += "\nwithout checkpoint_every=EPOCHS it cannot go on from there"
        print(message, file=sys.stderr)
        raise KeyboardInterrupt from error
