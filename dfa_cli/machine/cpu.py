"""Asks the system which processor this machine has, and how much of it this process may use."""

from __future__ import annotations

import contextlib
import functools
import platform
from pathlib import Path, PurePosixPath

CPU_INFO = Path("/proc/cpuinfo")
CGROUP = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")


def cpu_info() -> str | None:
    """Reads Linux's description of the processors; `None` on other systems, which have no such file."""
    try:
        return CPU_INFO.read_text(errors="replace")
    except OSError:
        return None


@functools.cache
def is_intel() -> bool:
    """Tells whether the system names Intel as the maker of the processors."""
    return "GenuineIntel" in (cpu_info() or "")


def processor() -> str:
    """Returns the name of the processor's model, for people to read."""
    for line in (cpu_info() or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def quota() -> float | None:
    """Returns how many processors the control groups of this process allow it, such as 1.5; `None` for no limit.

    Containers and job schedulers set such a limit. Every group above that of the process may have one, and the lowest
    counts. A container may see its own group as the root, whatever the path of its group is called outside.
    """
    with contextlib.suppress(OSError):
        found = [
            limit
            for line in CGROUP.read_text(errors="replace").splitlines()
            for folder, controllers in _folders(line)
            if (limit := _limit(folder, controllers)) is not None
        ]
        return min(found, default=None)
    return None


def _folders(line: str) -> list[tuple[Path, str]]:
    """Returns the folders of a group and of the groups above it, each with the controllers of the hierarchy.

    `line`: `0::/path` in version 2, `4:cpu,cpuacct:/path` in version 1.
    """
    _, controllers, path = line.split(":", 2)
    if controllers and "cpu" not in controllers.split(","):
        return []
    inside = PurePosixPath(path.lstrip("/"))
    groups = [inside, *inside.parents]
    mounts = [CGROUPS / controllers, CGROUPS / "cpu"] if controllers else [CGROUPS, CGROUPS / "unified"]
    return [(mount / group, controllers) for mount in mounts for group in groups]


def _limit(folder: Path, controllers: str) -> float | None:
    """Reads the limit of one group: the time that it may take in a period, divided by the period."""
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        if controllers:
            words = [(folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")]
        else:
            words = (folder / "cpu.max").read_text().split()
        time, period = (float(word) for word in words)  # `max` is no number, and no limit
        if time > 0:  # -1 is no limit in version 1
            return time / period
    return None
