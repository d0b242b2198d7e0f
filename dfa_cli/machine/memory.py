"""The memory of this process: how much it holds at most, and whether it keeps what is freed."""

from __future__ import annotations

import contextlib
import ctypes
import sys
from pathlib import Path

# mallopt's parameters, from glibc's malloc.h, and the largest number that it takes
TRIM_THRESHOLD, MMAP_THRESHOLD, MOST = -1, -3, 2**31 - 1


def keep_freed_memory() -> None:
    """Keep freed memory in this process, for the next tensor. Only glibc can be told to.

    By itself glibc returns every tensor above 32 MB to the system, and the end of its heap. The system then clears and
    maps the pages again for the next tensor, which takes longer than many an operation on it: half of a forward pass
    over a graph of a million nodes.
    """
    if (library := _glibc()) is not None:
        library.mallopt(MMAP_THRESHOLD, MOST)
        library.mallopt(TRIM_THRESHOLD, MOST)


def reset_peak_memory() -> None:
    """Count the peak anew from what is in use now. Linux can; elsewhere a peak is that of the whole process."""
    if (library := _glibc()) is not None:
        library.malloc_trim(0)  # what `keep_freed_memory` has kept
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int | None:
    """The most memory held since `reset_peak_memory`; `None` where the system does not tell."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _glibc() -> ctypes.CDLL | None:
    """The C library, where it is one that has these settings."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
