"""MNIST: 70,000 handwritten digits, 28 x 28."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import torch

from dfa_cli.config.bounds import require, whole
from dfa_cli.data.base import Data
from dfa_cli.data.catalogue import entry
from dfa_cli.errors import DfaError

if TYPE_CHECKING:
    import numpy

    from dfa_cli.data.source import Source

TRAIN, TEST, PIXELS = 60_000, 10_000, 28 * 28
MEAN, DEVIATION = 0.1307, 0.3081  # of the training pixels in 0..1, as published with most MNIST recipes
_UNSIGNED_BYTES = 0x08  # the element type in an IDX header


class MNIST:
    """Handwritten digits `x` `[70000, 784]`, grey values in 0..1; training images first, then the test's.

    The last `validation` of the 60,000 training images, in their published order, are held out.
    `normalize=True` gives `(x - 0.1307) / 0.3081`.

    Source: LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition, 1998.
    """

    def __init__(self, validation: int = 5_000, normalize: bool = False) -> None:
        require("data.validation", validation, whole(1, TRAIN - 1))
        self.validation = validation
        self.normalize = normalize

    def load(self, source: Source) -> Data:
        """The images. Raises `DfaError` when a raw file is missing or corrupt."""
        import numpy

        files = {file.name: file for file in entry("mnist").files}

        def raw(name: str, *dimensions: int) -> numpy.ndarray:
            return idx(source.read("mnist", files[name]), dimensions, name)

        x = torch.empty(TRAIN + TEST, PIXELS)
        y = torch.empty(TRAIN + TEST, dtype=torch.int64)
        for part, first, rows in (("train", 0, TRAIN), ("t10k", TRAIN, TEST)):
            place = slice(first, first + rows)
            images = raw(f"{part}-images-idx3-ubyte", rows, 28, 28).reshape(rows, PIXELS)
            # Bytes to float32 in one pass: 220 MB are written once, and no float64 is ever made.
            numpy.divide(images, numpy.float32(255), out=x[place].numpy())
            y[place].numpy()[:] = raw(f"{part}-labels-idx1-ubyte", rows)
        if self.normalize:
            x.sub_(MEAN).div_(DEVIATION)
        held_out = TRAIN - self.validation
        return Data(
            name="mnist",
            x=x,
            y=y,
            classes=10,
            train=torch.arange(held_out),
            validation=torch.arange(held_out, TRAIN),
            test=torch.arange(TRAIN, TRAIN + TEST),
            split=f"published test set, last {self.validation:,} of the training set held out for validation",
            checksums={file.name: file.sha256 for file in files.values()},
        )


def idx(content: bytes, dimensions: tuple[int, ...], name: str) -> numpy.ndarray:
    """The unsigned bytes of an IDX file as an array of `dimensions`, without a copy.

    An IDX file starts with two zero bytes, the element type, the number of dimensions, and each dimension as
    a big-endian 32-bit integer. Raises `DfaError` when the header says anything else than `dimensions`.
    """
    import numpy

    expected = struct.pack(f">HBB{len(dimensions)}I", 0, _UNSIGNED_BYTES, len(dimensions), *dimensions)
    found = content[: len(expected)]
    if found != expected:
        raise DfaError(f"{name}: expected the IDX header {expected.hex()}, found {found.hex()}")
    return numpy.frombuffer(content, numpy.uint8, offset=len(expected)).reshape(dimensions)
