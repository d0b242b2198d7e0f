"""Checks that an encoding or a read-out keeps its interface, since it may be of the user's own.

A wrong shape could be broadcast in silence, and a wrong number of frames would make the modelled times wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dfa_cli.errors import DfaError

if TYPE_CHECKING:
    from dfa_cli.devices.opu.encoding import Frames


def require_readout(readout: Any) -> None:
    """Raise `DfaError` for a read-out without its methods, or whose numbers of frames or pixels are none."""
    for method in ("calibrate", "read"):
        if not callable(getattr(readout, method, None)):
            raise _broken(readout, f"has no method {method}()")
    for number in ("exposures", "pixels_per_mode"):
        value = getattr(readout, number, None)
        if not isinstance(value, int) or value < 1:
            raise _broken(readout, f"has {number} = {value}; it must be a whole number from 1")


def require_frames(frames: Frames, error: Tensor, encoding: Any) -> None:
    """Raise `DfaError` for patterns, weights or scales whose shapes do not fit `error` `[rows, n_in]`."""
    if not isinstance(getattr(frames, "patterns", None), Tensor):
        raise _broken(encoding, "returns no Frames")
    count, rows = len(frames.weights), len(error)
    _require_shape(frames.patterns, (count, *error.shape), "patterns", encoding)
    _require_shape(frames.shown, (count, rows), "shown", encoding)
    _require_shape(frames.scale, (rows, 1), "scale", encoding)
    for f, weight in enumerate(frames.weights):
        if isinstance(weight, Tensor):
            _require_shape(weight, (rows, 1), f"weights[{f}]", encoding)
    if frames.patterns.dtype != torch.float32:
        raise _broken(encoding, f"returns patterns of {frames.patterns.dtype}; they must be torch.float32")


def require_reading(reading: Any, shape: tuple[int, int], readout: Any) -> None:
    """Raise `DfaError` unless the values of a reading have the `shape` `[rows, n_out]`."""
    values = getattr(reading, "values", None)
    if not isinstance(values, Tensor):
        raise _broken(readout, "returns no Reading")
    _require_shape(values, shape, "values", readout)


def _require_shape(tensor: Tensor, shape: tuple[int, ...], name: str, part: Any) -> None:
    if tensor.shape != shape:
        raise _broken(
            part, f"returns {name} of the shape {list(tensor.shape)}; it must be {list(shape)} here"
        )


def _broken(part: Any, wrong: str) -> DfaError:
    return DfaError(
        f"{type(part).__name__} {wrong}. docs/tutorial.md says how to write a part of the optics."
    )
