"""Writes and reads notes, with which a job without a record of its own reports its state to the sweep."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from dfa_cli.machine.files import write_atomically

# paths inside the sweep's folder
NOTES = ".sweep/notes"  # a file for each job without a record of its own
STOP = ".sweep/stop"  # while this file exists, no job begins; after a signal it holds the name of the signal
LOCK = ".sweep/lock"  # held by the process of the sweep


def note_name(sweep_folder: Path, folder: Path) -> str:
    """Return the file name of a job's note: the path of the job's folder inside the sweep's folder, as one word."""
    return os.path.relpath(folder, sweep_folder).replace(os.sep, "%2F")


def write_note(sweep_folder: Path, folder: Path, content: dict[str, Any]) -> None:
    """Write the note of the job whose folder is `folder`. It replaces an earlier one."""
    path = sweep_folder / NOTES / note_name(sweep_folder, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(content))


def forget_note(sweep_folder: Path, folder: Path) -> None:
    """Delete the note of the job whose folder is `folder`, if there is one."""
    with contextlib.suppress(OSError):
        (sweep_folder / NOTES / note_name(sweep_folder, folder)).unlink()


# file name -> modification time and content
NotesCache = dict[str, tuple[int, dict[str, Any]]]


def read_notes(sweep_folder: Path, known: NotesCache | None = None) -> dict[str, dict[str, Any]]:
    """Read all notes of a sweep, by `note_name`.

    `known`: a cache that is updated, so that only new and changed files are read.
    """
    known = {} if known is None else known
    there = set()
    folder = sweep_folder / NOTES
    # The folder is not there before the first note, and a job that is started again deletes its note.
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            there.add(entry.name)
            written = entry.stat().st_mtime_ns
            if known.get(entry.name, (None,))[0] != written:
                known[entry.name] = (written, json.loads(Path(entry.path).read_text(encoding="utf-8")))
    return {name: content for name, (_, content) in known.items() if name in there}
