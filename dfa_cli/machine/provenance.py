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
COMPUTES = ("dfa_cli", "conf")  # of a checkout; a page or a test that was changed changes no number


def provenance() -> dict[str, Any]:
    """The part of a record that does not depend on the configuration."""
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
    """Of the packages that matter, when this process first asked: what is installed later is not what its jobs run."""
    found = {"dfa": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


@functools.cache
def code_state() -> dict[str, Any]:
    """`git_state` when this process first asked: what is committed while a sweep runs is not what its jobs run."""
    return git_state()


def git_state(root: Path = CHECKOUT) -> dict[str, Any]:
    """Commit of the checkout this code is imported from, and whether what computes has been changed since."""
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
