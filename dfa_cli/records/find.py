"""Finds runs on disk: all runs below a folder, or the one run that a user names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from dfa_cli.console.values import plural
from dfa_cli.errors import DfaError, nearest
from dfa_cli.machine.files import REMOVED
from dfa_cli.records.run import RECORD, Run, read_run


def pick_run(name: str, folders: Paths = ("outputs",)) -> Run:
    """Returns the run that `name` stands for: a folder, the path of a `run.json`, the start of an id, or `last`.

    Raises `DfaError` when no run fits, and when several runs fit. In the second case the message lists them.
    """
    path = Path(name)
    if path.name == RECORD:
        path = path.parent
    if (path / RECORD).is_file():
        try:
            return read_run(path)
        except ValueError as error:
            raise DfaError(f"{name}: {error}") from None
    found = find(folders)
    if not found.runs:
        raise DfaError(no_runs_message(found))
    if name == "last":
        return found.runs[0]
    matches = [run for run in found.runs if name and run.id.startswith(name.lower())]
    where = ", ".join(found.places)
    if not matches:
        close = nearest(name, [run.id for run in found.runs])
        hint = f"did you mean {' or '.join(close)}" if close else "`dfa runs` lists them"
        raise DfaError(f"no run below {where} has an id that starts with '{name}'; {hint}")
    if len({run.id for run in matches}) > 1:
        some = ", ".join(sorted({run.id for run in matches})[:8])
        more = ", ..." if len({run.id for run in matches}) > 8 else ""
        raise DfaError(
            f"'{name}' is the start of {len(matches)} ids; type more letters of the one you mean: {some}{more}"
        )
    if len(matches) > 1:  # This happens when a folder of runs was copied.
        places = ", ".join(run.folder for run in matches)
        raise DfaError(
            f"run {matches[0].id} was found {len(matches)} times; name the folder of the one you mean: {places}"
        )
    return matches[0]


Paths = Iterable["str | os.PathLike[str]"]


class Found:
    """The result of a search.

    `runs`: newest first. `skipped`: the folders that hold no readable run, each with the reason. `places`: the
    folders that were searched. `half_removed`: the hidden folders that a killed `dfa clean` has left.
    """

    def __init__(self, places: list[str]):
        self.places = places
        self.runs: list[Run] = []
        self.skipped: list[tuple[str, str]] = []
        self.half_removed: list[str] = []


def find(folders: Paths = ("outputs",)) -> Found:
    """Finds all runs below `folders`, at any depth; a folder that is reached twice is read once.

    Raises `DfaError` when one of `folders` does not exist or cannot be listed.
    """
    places = [os.fspath(folder) for folder in folders] or ["outputs"]
    found = Found(places)
    seen: set[tuple[int, int]] = set()
    for place in places:
        if not os.path.isdir(place):
            what = "is a file, not a folder" if os.path.exists(place) else "is not there"
            keys = f"; a condition on keys goes behind --where: --where '{place}'" if "=" in place else ""
            raise DfaError(
                f"no runs found: {place} {what}; name a folder of runs, or make one with `dfa train`{keys}"
            )
        try:
            os.scandir(place).close()
        except OSError as error:
            raise DfaError(f"cannot read the folder {place}: {error.strerror}") from None
        _search(place, found, seen)
    found.runs.sort(key=lambda run: (run.created, run.id), reverse=True)
    return found


def _search(top: str, found: Found, seen: set[tuple[int, int]]) -> None:
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            stat = os.stat(folder)
            # A link may lead back to a folder above it, and a user may name a folder twice. Each folder is
            # searched once, so that the search ends and no run is listed twice.
            if (stat.st_dev, stat.st_ino) in seen:
                continue
            seen.add((stat.st_dev, stat.st_ino))
            has_record, has_hydra = False, False
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name == RECORD:
                        has_record = True
                    elif entry.name == ".hydra":
                        has_hydra = True
                    elif entry.name.startswith("."):
                        if entry.name.startswith(REMOVED):
                            found.half_removed.append(entry.path)
                    elif entry.is_dir():
                        waiting.append(entry.path)
        except OSError as error:
            found.skipped.append((folder, f"cannot be read ({error.strerror})"))
            continue
        if has_record:
            try:
                found.runs.append(read_run(folder))
            except ValueError as error:
                found.skipped.append((folder, str(error)))
        elif has_hydra:
            found.skipped.append(
                (folder, "holds no run.json: the run never began, or another program made the folder")
            )


def no_runs_message(found: Found) -> str:
    """Writes the error message for a search that found no run."""
    skipped = (
        f", {plural(len(found.skipped), 'folder')} skipped as damaged or foreign" if found.skipped else ""
    )
    return (
        f"no runs found in {', '.join(found.places)} (searched at every depth for run.json{skipped}); "
        f"name another folder, or make runs with `dfa train`"
    )


def find_some(folders: Paths = ("outputs",)) -> Found:
    """Finds runs as `find` does, and raises `DfaError` when there is none."""
    found = find(folders)
    if not found.runs:
        raise DfaError(no_runs_message(found))
    return found
