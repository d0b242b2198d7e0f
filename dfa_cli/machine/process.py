"""Is the process that wrote a record still there?"""

from __future__ import annotations

import os
from pathlib import Path


def alive(pid: int, since: float | None = None) -> bool:
    """Whether process `pid`, started `since` clock ticks after the machine's start, is still running.

    The system gives a pid to another process later, and a reboot starts them anew, so the pid alone proves
    little. Where the system tells no more (no `/proc`, no signals), the answer is yes: calling a living
    run dead would be the worse mistake.
    """
    if os.path.isdir("/proc/self"):
        now = process_started(pid)
        return now is not None and (since is None or abs(now - since) < 2)
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it is there and belongs to somebody else
    return True


def process_started(pid: int) -> float | None:
    """When process `pid` started, in clock ticks since boot; `None` if it is gone or the system does not tell.

    A pid alone does not name a process: the system gives it to another one later.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else float(fields[19])  # ended, and nobody has asked how
