"""One run by what a user calls it."""

from __future__ import annotations

from pathlib import Path

from dfa_cli.errors import DfaError, nearest
from dfa_cli.results.store import Paths, Run, find, nothing_found, read


def pick_run(name: str, folders: Paths = ("outputs",)) -> Run:
    """The run called `name`: a folder, the path of a `run.json`, the start of an id, or `last`.

    Raises `DfaError` when there is none, or more than one (the candidates are named).
    """
    path = Path(name)
    if path.name == "run.json":
        path = path.parent
    if (path / "run.json").is_file():
        try:
            return read(path)
        except ValueError as error:
            raise DfaError(f"{name}: {error}") from None
    found = find(folders)
    if not found.runs:
        raise DfaError(nothing_found(found))
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
        raise DfaError(f"'{name}' begins {len(matches)} ids, give more of the one you mean: {some}{more}")
    if len(matches) > 1:  # a folder of runs was copied
        places = ", ".join(run.folder for run in matches)
        raise DfaError(
            f"run {matches[0].id} is there {len(matches)} times, give one of the folders: {places}"
        )
    return matches[0]
