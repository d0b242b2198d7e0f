"""Collects where a result comes from: the command, the versions, the machine, the commit of the code."""

from __future__ import annotations

import functools
import os
import platform
import shlex
import socket
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
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


def git_state(root: Path = CHECKOUT) -> dict[str, Any]:
    """Asks git for the commit of the checkout, and whether a file that affects results has been changed since.

    Both are `None` where git cannot tell, for example outside a checkout.
    """
    unknown = {"commit": None, "dirty": None}
    if not (root / ".git").exists():
        return unknown
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git(root, "status", "--porcelain", "--", *CODE_FOLDERS))}
    except (OSError, subprocess.SubprocessError):  # such as: no git, no commit yet, no permission to read
        return unknown


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
