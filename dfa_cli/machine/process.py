"""Is the process that wrote a record still there?"""

from __future__ import annotations

import os

from dfa_cli.results.record import process_started


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
