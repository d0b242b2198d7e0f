"""Notes in a sweep's folder, of jobs that left no record of their own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from dfa_cli.machine.files import write_atomically

NOTES = ".sweep/notes"  # in the sweep's folder: a file for each job that left no record of its own
STOP = ".sweep/stop"  # in the sweep's folder: no further job is to begin


def note_name(top: Path, folder: Path) -> str:
    """What the note of the job that was given `folder` is called: the folder's path in the sweep's, as one word."""
    return os.path.relpath(folder, top).replace(os.sep, "%2F")


def write_note(top: Path, folder: Path, content: dict[str, Any]) -> None:
    """Leave a note for the job that was given `folder`, in the place of an earlier one."""
    path = top / NOTES / note_name(top, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(content))


Read = dict[str, tuple[int, dict[str, Any]]]


def notes(top: Path, known: Read | None = None) -> dict[str, dict[str, Any]]:
    """The notes in a sweep's folder, by `note_name`.

    `known`: those that were read before, with the times of their files; they are read again when they have changed.
    """
    known = {} if known is None else known
    try:
        with os.scandir(top / NOTES) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                written = entry.stat().st_mtime_ns
                if known.get(entry.name, (None,))[0] != written:
                    known[entry.name] = (written, json.loads(Path(entry.path).read_text(encoding="utf-8")))
    except OSError:
        pass  # none yet
    return {name: content for name, (_, content) in known.items()}
