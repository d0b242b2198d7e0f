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
        _require(callable(getattr(readout, method, None)), readout, f"has no method {method}()")
    for number in ("exposures", "pixels_per_mode"):
        value = getattr(readout, number, None)
        right = isinstance(value, int) and value >= 1
        _require(right, readout, f"has {number} = {value}; it must be a whole number from 1")


def require_frames(frames: Frames, error: Tensor, encoding: Any) -> None:
    """Raise `DfaError` for patterns, weights or scales whose shapes do not fit `error` `[rows, n_in]`."""
    patterns = getattr(frames, "patterns", None)
    _require(isinstance(patterns, Tensor), encoding, "returns no Frames")
    count, rows = len(frames.weights), len(error)
    shapes = {
        "patterns": (frames.patterns, (count, *error.shape)),
        "shown": (frames.shown, (count, rows)),
        "scale": (frames.scale, (rows, 1)),
    }
    shapes |= {
        f"weights[{f}]": (weight, (rows, 1))
        for f, weight in enumerate(frames.weights)
        if isinstance(weight, Tensor)
    }
    for name, (tensor, shape) in shapes.items():
        wrong = f"returns {name} of the shape {list(tensor.shape)}; for this error it must be {list(shape)}"
        _require(tuple(tensor.shape) == shape, encoding, wrong)
    is_float = frames.patterns.dtype == torch.float32
    _require(is_float, encoding, f"returns patterns of {frames.patterns.dtype}; they must be torch.float32")


def require_reading(reading: Any, shape: tuple[int, int], readout: Any) -> None:
    """Raise `DfaError` unless the values of a reading have the `shape` `[rows, n_out]`."""
    values = getattr(reading, "values", None)
    _require(isinstance(values, Tensor), readout, "returns no Reading")
    wrong = f"returns values of the shape {list(values.shape)}; for this field it must be {list(shape)}"  # type: ignore[union-attr]
    _require(tuple(values.shape) == shape, readout, wrong)  # type: ignore[union-attr]


def _require(right: bool, part: Any, wrong: str) -> None:
    if not right:
        raise DfaError(
            f"{type(part).__name__} {wrong}. docs/tutorial.md says how to write a part of the optics."
        )
