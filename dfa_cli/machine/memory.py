"""Memory of this process: what it holds, and what of it is kept for the next tensor."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from collections.abc import Iterator
from pathlib import Path

# mallopt's parameters, from glibc's malloc.h, and the largest number that it takes
TRIM_THRESHOLD, MMAP_THRESHOLD, MOST = -1, -3, 2**31 - 1


def keep_freed() -> None:
    """Let what is freed be there for the next tensor, in place of giving it back to the system. glibc can.

    By itself it gives back every tensor above 32 MB, and the end of what it has. The system clears and maps the pages
    anew for the next one, which takes longer than many an operation on it: half of a forward pass over a graph of a
    million nodes.
    """
    if (library := _glibc()) is not None:
        library.mallopt(MMAP_THRESHOLD, MOST)
        library.mallopt(TRIM_THRESHOLD, MOST)


@contextlib.contextmanager
def importing(library: str) -> Iterator[None]:
    """Around the first import of a large library: what that makes stays to the end of the process.

    The collector would look for cycles in it while it is made, in every full collection, and once more at the exit:
    a third of a second for torch. Later imports change nothing: the garbage of the jobs since then stays in its sight.
    """
    if library in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def forget_peak() -> None:
    """Let the highest so far be what is in use now. Linux can; elsewhere a peak is that of the whole process."""
    if (library := _glibc()) is not None:
        library.malloc_trim(0)  # what `keep_freed` has kept
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int | None:
    """The highest since `forget_peak`; `None` where the system does not tell."""
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
