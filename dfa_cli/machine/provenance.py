"""Where a result comes from: the program, its versions, the machine, the code it was run from."""

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
from dfa_cli.machine.process import process_started
from dfa_cli.version import __version__

PACKAGES = ("torch", "torch-geometric", "numpy", "scipy", "scikit-learn", "hydra-core", "numba")
CHECKOUT = Path(__file__).resolve().parents[2]
COMPUTES = ("dfa_cli", "conf")  # of a checkout; a changed page or test changes no number


def provenance() -> dict[str, Any]:
    """Collects the part of a record that does not depend on the configuration."""
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "cwd": os.getcwd(),
        "versions": dict(versions()),
        "git": code_state(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "pid_started": process_started(os.getpid()),
        "platform": platform.platform(),
        "processor": processor(),
    }


@functools.cache
def versions() -> dict[str, str]:
    """Reads the versions of the packages that matter, once: what is installed later is not what this process runs."""
    found = {"dfa": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@functools.cache
def code_state() -> dict[str, Any]:
    """Asks for `git_state` once: a commit made while a sweep runs must not appear in the records of its later jobs.

    Whoever starts a run calls this before anything else, while the files are those that this process has read.
    """
    return git_state()


def git_state(root: Path = CHECKOUT) -> dict[str, Any]:
    """Asks git for the commit of this code's checkout, and whether what computes has been changed since."""
    unknown = {"commit": None, "dirty": None}
    if not (root / ".git").exists():
        return unknown
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return {"commit": commit, "dirty": bool(_git(root, "status", "--porcelain", "--", *COMPUTES))}
    except (OSError, subprocess.SubprocessError):  # no git here, no commit yet, not ours to read
        return unknown


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
