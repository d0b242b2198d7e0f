"""The folder of a run."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

from dfa_cli.console.messages import shortest
from dfa_cli.errors import DfaError
from dfa_cli.machine.files import cannot_write


def refuse_to_share(folder: Path, multirun: bool) -> None:
    """Raises `DfaError` where `hydra.run.dir` or `hydra.sweep.dir` names a folder with something of others in it: a run
    that is refused takes its folder away again, and one that is repeated would mix with the one before."""
    if multirun:
        taken, name = any(folder.glob("*/run.json")), "sweep"
        what = "holds the runs of another sweep"
    else:
        taken, name = folder.is_dir() and any(folder.iterdir()), "run"
        what = "is not empty, and a run needs a folder of its own"
    if taken:
        raise DfaError(f"{shortest(folder)} {what}: name another with hydra.{name}.dir=FOLDER.")


@contextlib.contextmanager
def _place(folder: Path) -> Iterator[Path]:
    """Makes the folder of a run. When the run is refused, what was made for it and is still empty goes again."""
    new = list(itertools.takewhile(lambda one: not one.exists(), (folder, *folder.parents)))
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DfaError(cannot_write(folder, error)) from error
        yield folder
    except DfaError:
        for one in new:
            with contextlib.suppress(OSError):
                one.rmdir()
        raise


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
