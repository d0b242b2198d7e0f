"""Asks the system which processor this machine has."""

from __future__ import annotations

import platform
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")


def cpu_info() -> str | None:
    """Reads Linux's description of the processors; `None` on other systems, which have no such file."""
    try:
        return CPU_INFO.read_text(errors="replace")
    except OSError:
        return None


def processor() -> str:
    """Returns the name of the processor's model, for people to read."""
    for line in (cpu_info() or "").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
