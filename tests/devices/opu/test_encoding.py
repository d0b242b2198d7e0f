"""The encodings of errors as binary frames."""

import itertools

import pytest
import torch

from dfa_cli.devices.opu import Bitplanes, Float, Sign, Ternary
from dfa_cli.devices.opu.encoding import Frames
from dfa_cli.errors import DfaError

ENCODINGS = [
    Ternary(),
    Ternary(0.05, relative=False),
    Sign(),
    Bitplanes(1),
    Bitplanes(4),
    Bitplanes(8),
    Float(),
]


def errors(rows: int = 50, n: int = 10) -> torch.Tensor:
    draws = torch.Generator().manual_seed(0)
    error = torch.softmax(2 * torch.randn(rows, n, generator=draws), 1)
    error[torch.arange(rows), torch.randint(0, n, (rows,), generator=draws)] -= 1
    return error


def decoded(frames: Frames) -> torch.Tensor:
    return frames.scale * torch.einsum("frn,f->rn", frames.patterns, torch.tensor(frames.weights))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_norm_of_every_row_is_kept(encoding) -> None:
    error = errors()
    assert torch.allclose(decoded(encoding.encode(error)).norm(dim=1), error.norm(dim=1), rtol=1e-5)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_rows_of_zeros_show_no_frame(encoding) -> None:
    error = errors()
    error[3] = 0
    frames = encoding.encode(error)
    assert not frames.patterns[:, 3].any()
    assert not frames.shown[:, 3].any()
    assert torch.isfinite(frames.scale).all()
    assert torch.equal(frames.shown > 0, frames.patterns.any(-1))


@pytest.mark.parametrize("encoding", [e for e in ENCODINGS if not isinstance(e, Float)])
def test_mirrors_are_on_or_off(encoding) -> None:
    assert set(encoding.encode(errors()).patterns.unique().tolist()) == {0.0, 1.0}


def test_ternary_keeps_the_signs_of_the_large_entries() -> None:
    frames = Ternary(0.5).encode(torch.tensor([[1.0, 0.6, -0.4, -0.7], [0.0, 0.1, -0.04, -0.2]]))
    assert frames.patterns[0].tolist() == [[1, 1, 0, 0], [0, 0, 0, 0]]
    assert frames.patterns[1].tolist() == [[0, 0, 0, 1], [0, 0, 0, 1]]
    assert frames.shown.tolist() == [[1, 0], [1, 1]]
    absolute = Ternary(0.15, relative=False).encode(torch.tensor([[0.0, 0.1, -0.04, -0.2]]))
    assert absolute.patterns[:, 0].tolist() == [[0, 0, 0, 0], [0, 0, 0, 1]]


def test_bitplanes_approach_the_error_by_six_decibels_a_bit() -> None:
    error = errors(500)
    distance = [float((decoded(Bitplanes(bits).encode(error)) - error).norm()) for bits in (3, 4, 5, 6, 7)]
    for coarse, fine in itertools.pairwise(distance):
        assert 1.6 < coarse / fine < 2.5


def test_float_is_exact() -> None:
    error = errors()
    assert torch.allclose(decoded(Float().encode(error)), error, atol=1e-7)


def test_thresholds_and_bits_out_of_range_are_refused() -> None:
    with pytest.raises(DfaError, match=r"threshold is 1\. It must be a number from 0 to below 1"):
        Ternary(1)
    with pytest.raises(DfaError, match=r"threshold is -0\.1\. It must be a number of at least 0"):
        Ternary(-0.1, relative=False)
    with pytest.raises(DfaError, match="threshold is nan"):
        Ternary(float("nan"))
    with pytest.raises(DfaError, match=r"bits is 0\. It must be a whole number from 1 to 16"):
        Bitplanes(0)
