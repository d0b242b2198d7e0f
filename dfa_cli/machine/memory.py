"""Measures the peak memory of this process, and chooses whether it keeps freed memory."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from pathlib import Path

# mallopt's parameters, from glibc's malloc.h, and the largest value that it accepts
TRIM_THRESHOLD, MMAP_THRESHOLD, MAX_INT = -1, -3, 2**31 - 1


def keep_freed_memory() -> None:
    """Makes this process keep freed memory for the next tensor. It works with glibc only.

    By default glibc returns the memory of every freed tensor above 32 MB to the system. It also returns the free end of
    its heap. For the next tensor the system then maps and clears pages again. This takes longer than many operations
    on the tensor do. In a forward pass over a graph of a million nodes, it takes half the time.
    """
    _set_malloc(mmap_threshold=MAX_INT, trim_threshold=MAX_INT)


def return_freed_memory() -> None:
    """Makes this process return the memory of each freed tensor of 1 MB or more at once. It works with glibc only.

    Use it where a training step holds few tensors at a time. Kept memory is fragmented, since a freed tensor is often a
    little too small for the next one. The fragments then take several times as much memory as the tensors.
    """
    _set_malloc(mmap_threshold=2**20, trim_threshold=2**20)


def _set_malloc(mmap_threshold: int, trim_threshold: int) -> None:
    # With this variable torch asks Linux for huge pages, so that the memory of large tensors is mapped and cleared
    # faster. torch reads it when it allocates its first tensor, so it must be set before that.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    if (library := _glibc()) is not None:
        library.mallopt(MMAP_THRESHOLD, mmap_threshold)
        library.mallopt(TRIM_THRESHOLD, trim_threshold)


def reset_peak_memory() -> None:
    """Sets the measured peak back to the memory that is in use now.

    Only Linux can do so. On other systems the peak is measured over the whole life of the process.
    """
    if (library := _glibc()) is not None:
        library.malloc_trim(0)  # otherwise memory kept by `keep_freed_memory` would count as in use
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # 5 resets the peak


def peak_bytes() -> int | None:
    """Returns the peak of resident memory, in bytes; `None` where it is unknown.

    On Linux the peak is measured since `reset_peak_memory`, elsewhere since the process began.
    """
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
    """Loads the C library if it is glibc, which has these settings; otherwise returns `None`."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
