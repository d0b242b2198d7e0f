"""Reads a projection in parts, so that nobody has to hold it as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from dfa_cli.devices.base import ProjectionDevice

Span = tuple[int, int]  # a range of columns: the first, and the one after the last


@runtime_checkable
class ProjectsParts(Protocol):
    """An optional part of a device: it shows the error once, and computes some columns of the projection at a time."""

    def project_parts(self, error: Tensor, spans: Sequence[Span]) -> Iterator[Tensor]:
        """Show `error` `[rows, n_in]` at once. The result yields its projection at the columns of each span, in order.

        A part is `[rows, last - first]`. It is computed when it is asked for. The caller may overwrite it, and the next
        part may take its memory. The noise of a part depends on its first column, and on how often a part that begins
        there was read before, but not on the other parts. Rows and frames are counted once for the call.
        """
        ...


@runtime_checkable
class CountsParts(Protocol):
    """An optional part of such a device: it counts something in the parts that it reads, such as full pixels.

    Where several processes read different parts, each has counted its own.
    """

    def new_counts(self) -> int:
        """Return what was counted since the last call, or since `prepare` or `load_state_dict`."""
        ...

    def add_counts(self, count: int) -> None:
        """Add what other processes have counted in the parts that they read."""
        ...


def project_parts(device: ProjectionDevice, error: Tensor, spans: Sequence[Span]) -> Iterator[Tensor]:
    """Do the same as `ProjectsParts.project_parts`. A device without that method projects everything at once."""
    if isinstance(device, ProjectsParts):
        return device.project_parts(error, spans)
    whole = device.project(error)
    return (whole[:, first:last].clone() for first, last in spans)
