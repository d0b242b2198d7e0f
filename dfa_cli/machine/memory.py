"""Measures the memory of this process and machine, and says in a sentence when there is too little."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from dfa_cli.errors import DfaError

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


def total_bytes() -> int | None:
    """Returns how much memory there is for processes, swap included; `None` where it is unknown.

    In a container it is the limit of the container.
    """
    found = []
    with contextlib.suppress(OSError):
        sizes = re.findall(r"^(?:MemTotal|SwapTotal): +(\d+) kB$", Path("/proc/meminfo").read_text(), re.M)
        found.append(1024 * sum(map(int, sizes)))
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):  # of both versions of control groups
        with contextlib.suppress(OSError, ValueError):
            found.append(int(Path("/sys/fs/cgroup", limit).read_text()))
    return min(found, default=None)


@contextlib.contextmanager
def shortage_as_sentence(what: str, advice: str) -> Iterator[None]:
    """Turns a failed allocation into a `DfaError` that says what is too large, and by how much memory.

    `what`: the subject of the sentence. `advice`: what to do, as a sentence.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # torch has no exception of its own for the memory of the processor.
        wanted = re.search(r"to allocate ([\d.]+) ?(bytes|[KMGT]i?B)", str(error))
        if wanted is None and not isinstance(error, MemoryError):
            raise
        total = None if "CUDA" in str(error) else total_bytes()  # the memory of the GPU is another one
        raise too_little(what, _bytes(*wanted.groups()) if wanted else None, total, advice) from error


def too_little(what: str, needed: float | None, total: int | None, advice: str) -> DfaError:
    """Makes the error for something that needs `needed` bytes of memory, of which this machine has `total`.

    `None`: the number is not known.
    """
    needs = f": it needs at least {gigabytes(needed)}" if needed else ""
    has = f", and this machine has {gigabytes(total)}" if total else ""
    return DfaError(f"{what} does not fit into memory{needs}{has}. {advice}")


def gigabytes(count: float) -> str:
    return f"{count / 1e9:.3g} GB" if count < 1e11 else f"{count / 1e9:,.0f} GB"


def _bytes(number: str, unit: str) -> float:
    """Converts what torch says of an allocation, such as `20.00 GiB`."""
    if unit == "bytes":
        return float(number)
    return float(number) * (1024 if "i" in unit else 1000) ** (" KMGT".index(unit[0]))


def _glibc() -> ctypes.CDLL | None:
    """Loads the C library if it is glibc, which has these settings; otherwise returns `None`."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
