"""Tells whether the process that wrote a record is still running."""

from __future__ import annotations

import os
import time
from pathlib import Path


def is_running(pid: int, since: float | None = None) -> bool:
    """Tells whether process `pid`, which started `since` clock ticks after boot, is still running.

    A pid alone proves little: the system gives it to another process later, and after a reboot pids count from the
    start again. Where the system tells nothing about processes (without `/proc` and signals), the answer is `True`,
    because to call a running run dead is the worse mistake.
    """
    if os.path.isdir("/proc/self"):
        started = process_started(pid)
        return started is not None and (since is None or abs(started - since) < 2)
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # The process exists and belongs to another user.
    return True


def process_started(pid: int) -> float | None:
    """Returns when process `pid` started, in clock ticks since boot; `None` if it has ended or the time is unknown.

    Together with the pid this identifies a process, since the system gives the pid to another process later.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    # In state Z or X the process has ended, and its parent has not asked for its exit code yet. The start time is
    # value 19 after the name, counted from 0.
    return None if fields[0] in "ZX" else float(fields[19])


def seconds_running() -> float | None:
    """Returns how long this process has been running; `None` where the system does not tell."""
    started = process_started(os.getpid())
    if started is None or not hasattr(time, "CLOCK_BOOTTIME"):
        return None
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")
