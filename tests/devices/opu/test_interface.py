"""An encoding or a read-out of the user's own that breaks its interface is named, with what it must do."""

from dataclasses import replace

import pytest
import torch

from dfa_cli.devices.opu import OPU, Dithered, Ideal
from dfa_cli.devices.opu.readout.base import Reading
from dfa_cli.errors import DfaError

ERROR = torch.tensor([[0.5, -0.3, -0.2], [-0.9, 0.4, 0.5]])


class Mine(Ideal):
    exposures = 1


class NoFrame(Mine):
    exposures = 0


class HalfAPixel(Mine):
    pixels_per_mode = 2.5


class NoReading(Mine):
    def read(self, field, frames, noise):
        return super().read(field, frames, noise).values


class OneModeTooFew(Mine):
    def read(self, field, frames, noise):
        reading = super().read(field, frames, noise)
        return Reading(reading.values[:, 1:], reading.full, reading.pixels)


class NoMethod:
    exposures = pixels_per_mode = 1
    imaginary = False


@pytest.mark.parametrize(
    ("readout", "words"),
    [
        (NoFrame(), "NoFrame has exposures = 0; it must be a whole number from 1."),
        (HalfAPixel(), "HalfAPixel has pixels_per_mode = 2.5; it must be a whole number from 1."),
        (NoReading(), "NoReading returns no Reading."),
        (OneModeTooFew(), r"values of the shape \[2, 3\]; it must be \[2, 4\] here"),
        (NoMethod(), r"NoMethod has no method calibrate\(\)."),
    ],
)
def test_a_read_out(readout, words: str) -> None:
    with pytest.raises(DfaError, match=words):
        project(OPU(readout=readout))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda f: replace(f, patterns=f.patterns[:, :1]),
            r"patterns of the shape \[2, 1, 3\]; .* \[2, 2, 3\]",
        ),
        (lambda f: replace(f, weights=(1.0,)), r"patterns of the shape \[2, 2, 3\]; .* \[1, 2, 3\]"),
        (lambda f: replace(f, scale=f.scale[:, 0]), r"scale of the shape \[2\]; .* \[2, 1\]"),
        (
            lambda f: replace(f, weights=(torch.ones(2), -1.0)),
            r"weights\[0\] of the shape \[2\]; .* \[2, 1\]",
        ),
        (
            lambda f: replace(f, patterns=f.patterns > 0),
            r"patterns of torch.bool; they must be torch.float32",
        ),
        (lambda f: f.patterns, "returns no Frames"),
    ],
)
def test_an_encoding(change, words: str) -> None:
    class Wrong(Dithered):
        def encode(self, error, draws):
            return change(super().encode(error, draws))

    with pytest.raises(DfaError, match=f"Wrong returns|{words}") as raised:
        project(OPU(encoding=Wrong()))
    assert raised.match(words)


def project(device: OPU) -> torch.Tensor:
    device.prepare(3, 4, torch.device("cpu"))
    return device.project(ERROR)
