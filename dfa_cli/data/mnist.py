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
# Mean and standard deviation of the training pixels in 0..1, as most MNIST recipes state them.
MEAN, DEVIATION = 0.1307, 0.3081
_UNSIGNED_BYTES = 0x08  # code of the element type in an IDX header


class MNIST:
    """Handwritten digits: 60,000 training and 10,000 test images of 28 x 28 pixels, 10 classes.

    `x` `[70000, 784]` holds grey values in 0..1, the training images first. The last `validation` training
    images, in their published order, are held out for validation. `normalize=True` gives
    `(x - 0.1307) / 0.3081`.

    Source: LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition, 1998.
    """

    def __init__(self, validation: int = 5_000, normalize: bool = False) -> None:
        require("data.validation", validation, whole(1, TRAIN - 1))
        self.validation = validation
        self.normalize = normalize

    def load(self, source: Source) -> Data:
        """Read the images and labels. Raises `DfaError` when a raw file is missing or corrupt."""
        import numpy

        files = {file.name: file for file in entry("mnist").files}

        def raw(name: str, *dimensions: int) -> numpy.ndarray:
            return parse_idx(source.read("mnist", files[name]), dimensions, name)

        x = torch.empty(TRAIN + TEST, PIXELS)
        y = torch.empty(TRAIN + TEST, dtype=torch.int64)
        for part, first, rows in (("train", 0, TRAIN), ("t10k", TRAIN, TEST)):
            place = slice(first, first + rows)
            images = raw(f"{part}-images-idx3-ubyte", rows, 28, 28).reshape(rows, PIXELS)
            # One pass from bytes to float32 writes the 220 MB once. `images / 255` would make float64 first.
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


def parse_idx(content: bytes, dimensions: tuple[int, ...], name: str) -> numpy.ndarray:
    """Read an IDX file of unsigned bytes as an array of shape `dimensions`, without a copy.

    An IDX file starts with two zero bytes, the element type, the number of dimensions, and each dimension as
    a big-endian 32-bit integer. Raises `DfaError` when the header states another type or other dimensions.
    """
    import numpy

    expected = struct.pack(f">HBB{len(dimensions)}I", 0, _UNSIGNED_BYTES, len(dimensions), *dimensions)
    found = content[: len(expected)]
    if found != expected:
        raise DfaError(
            f"{name} begins with {found.hex()}. It must begin with the IDX header {expected.hex()}."
        )
    return numpy.frombuffer(content, numpy.uint8, offset=len(expected)).reshape(dimensions)
