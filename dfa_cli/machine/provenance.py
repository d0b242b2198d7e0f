"""Collects where a result comes from: the command, the versions, the machine, the commit of the code."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shlex
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Any

from dfa_cli.machine.cpu import processor
from dfa_cli.machine.locks import boot_id
from dfa_cli.machine.process import process_started
from dfa_cli.version import __version__

PACKAGES = ("torch", "torch-geometric", "numpy", "scipy", "scikit-learn", "hydra-core", "numba")
CHECKOUT = Path(__file__).resolve().parents[2]
CODE_FOLDERS = ("dfa_cli", "conf")  # the folders of a checkout in which a change can change a result


def provenance() -> dict[str, Any]:
    """Collects the part of a record that does not depend on the run's configuration."""
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "cwd": os.getcwd(),
        "versions": dict(versions()),
        "git": code_state(),
        "host": socket.gethostname(),
        "boot": boot_id(),
        "pid": os.getpid(),
        "pid_started": process_started(os.getpid()),
        "platform": platform.platform(),
        "processor": processor(),
    }


@functools.cache
def versions() -> dict[str, str]:
    """Reads the versions of the packages that affect results.

    They are read once, since this process does not run packages that are installed after its start.
    """
    names_and_versions = {"dfa": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            names_and_versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return names_and_versions


@functools.cache
def code_state() -> dict[str, Any]:
    """Returns the `git_state` at the first call, so that a commit made during a sweep does not enter later records.

    Code that starts a run calls it before anything else, while the files on disk are still those that this process
    has read.
    """
    return git_state()


def git_state(
    root: Path = CHECKOUT, folders: Sequence[str] = CODE_FOLDERS, untracked: bool = True
) -> dict[str, Any]:
    """Asks git for the commit of the checkout, and whether a file that affects results has been changed since.

    Both are `None` where git cannot tell, for example outside a checkout. With changes there is also `diff`, the
    SHA-256 of what `changes` returns. `folders`: where a change affects results; without any, everywhere. `untracked`:
    new files that git does not track count as a change.
    """
    unknown = {"commit": None, "dirty": None}
    if not (root / ".git").exists():
        return unknown
    try:
        commit = _git(root, "rev-parse", "HEAD").decode().strip()
        new_files = "normal" if untracked else "no"
        if not _git(root, "status", "--porcelain", f"--untracked-files={new_files}", "--", *folders).strip():
            return {"commit": commit, "dirty": False}
        content = changes(root, folders, untracked)
        return {"commit": commit, "dirty": True, "diff": hashlib.sha256(content).hexdigest()}
    except (OSError, subprocess.SubprocessError):  # such as: no git, no commit yet, no permission to read
        return unknown


def changes(root: Path = CHECKOUT, folders: Sequence[str] = CODE_FOLDERS, untracked: bool = True) -> bytes:
    """Returns the uncommitted changes of a checkout: `git diff HEAD`, and with `untracked` the content of new files.

    Raises `OSError` or `subprocess.SubprocessError` where git cannot tell.
    """
    parts = [_git(root, "diff", "HEAD", "--", *folders)]
    if not untracked:
        return parts[0]
    listed = _git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", *folders).split(b"\0")
    for name in filter(None, listed):
        with suppress(OSError):
            parts.append(b"new file " + name + b"\n" + (root / os.fsdecode(name)).read_bytes())
    return b"".join(parts)


def repository_of(path: Path) -> Path | None:
    """Returns the top folder of the git repository that holds a file, or `None` if there is none."""
    return next((folder for folder in path.parents if (folder / ".git").exists()), None)


@functools.cache
def packages() -> str:
    """Lists every installed package with its version, one per line, as `pip freeze` does. It takes 0.2 s."""
    found = {f"{item.name}=={item.version}" for item in distributions() if item.name}
    return "".join(f"{line}\n" for line in sorted(found, key=str.lower))


def _git(root: Path, *arguments: str) -> bytes:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, check=True, timeout=10).stdout
