"""MNIST: the published order and split, and the check of IDX headers."""

from __future__ import annotations

import struct

import numpy
import pytest
import torch
from toy_data import local_source

from dfa_cli.data.base import Data
from dfa_cli.data.catalogue import entry
from dfa_cli.data.mnist import MNIST, parse_idx
from dfa_cli.data.source import Source
from dfa_cli.errors import DfaError


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return local_source("mnist", tmp_path_factory.mktemp("mnist"))


@pytest.fixture(scope="module")
def data(source: Source) -> Data:
    return MNIST().load(source)


def test_shapes_split_and_order_are_as_published(data: Data) -> None:
    assert tuple(data.x.shape) == (70_000, 784)
    assert data.x.dtype == torch.float32
    assert data.y.dtype == torch.int64
    assert float(data.x.min()) == 0.0
    assert float(data.x.max()) == 1.0
    assert torch.equal(torch.cat([data.train, data.validation, data.test]), torch.arange(70_000))
    assert (len(data.train), len(data.validation), len(data.test)) == (55_000, 5_000, 10_000)
    assert data.y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert data.y[60_000:60_010].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert data.y[:60_000].bincount()[[0, 5]].tolist() == [5_923, 5_421]
    assert "5,000" in data.split


def test_the_pixels_are_the_bytes_over_255(data: Data, source: Source) -> None:
    files = {file.name: file for file in entry("mnist").files}
    content = source.read("mnist", files["t10k-images-idx3-ubyte"])
    raw = torch.from_numpy(numpy.frombuffer(content, numpy.uint8, offset=16).copy()).view(10_000, 784)
    assert torch.equal(data.x[60_000:], raw / 255)


def test_normalised_pixels_have_mean_zero_and_deviation_one(source: Source) -> None:
    data = MNIST(validation=10_000, normalize=True).load(source)
    assert (len(data.train), len(data.validation)) == (50_000, 10_000)
    assert float(data.x[:60_000].mean()) == pytest.approx(0, abs=1e-3)
    assert float(data.x[:60_000].std()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("validation", [0, -1, 60_000])
def test_validation_out_of_range(validation: int) -> None:
    with pytest.raises(
        DfaError, match=f"validation is {validation}. It must be a whole number from 1 to 59999"
    ):
        MNIST(validation)


def test_an_idx_file_is_read() -> None:
    content = struct.pack(">HBB2I", 0, 8, 2, 2, 3) + bytes(range(6))
    assert parse_idx(content, (2, 3), "toy").tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize(
    "header",
    [
        struct.pack(">HBB2I", 0, 8, 2, 3, 2),  # other dimensions
        struct.pack(">HBB2I", 0, 13, 2, 2, 3),  # floats
        struct.pack("<HBB2I", 0, 8, 2, 2, 3),  # the wrong byte order
        b"\x00\x00",
    ],
)
def test_another_idx_header_is_refused(header: bytes) -> None:
    with pytest.raises(DfaError, match=r"toy begins with .* must begin with the IDX header 00000802"):
        parse_idx(header + bytes(6), (2, 3), "toy")
