"""The encodings of errors as binary frames."""

import itertools
import math

import pytest
import torch

from dfa_cli.devices.opu import Bitplanes, Dithered, DitheredTwoScales, Float, Sign, Ternary, TwoScales
from dfa_cli.devices.opu.encoding import Frames
from dfa_cli.errors import DfaError

KEEP_THE_NORM = [
    Ternary(),
    Ternary(0.05, relative=False),
    Sign(),
    Bitplanes(1),
    Bitplanes(4),
    Bitplanes(8),
    Float(),
    TwoScales(),
]
DITHERED = [Dithered(), DitheredTwoScales()]
ENCODINGS = [*KEEP_THE_NORM, *DITHERED]
SIGMAS = 4.5  # a correct encoding exceeds this many standard deviations for one number in 150,000


def errors(rows: int = 50, n: int = 10) -> torch.Tensor:
    draws = torch.Generator().manual_seed(0)
    error = torch.softmax(2 * torch.randn(rows, n, generator=draws), 1)
    error[torch.arange(rows), torch.randint(0, n, (rows,), generator=draws)] -= 1
    return error


def encoded(encoding, error: torch.Tensor) -> Frames:
    return encoding.encode(error, torch.Generator().manual_seed(1))


def decoded(frames: Frames) -> torch.Tensor:
    weighted = [weight * pattern for weight, pattern in zip(frames.weights, frames.patterns, strict=True)]
    return frames.scale * torch.stack(weighted).sum(0)


@pytest.mark.parametrize("encoding", KEEP_THE_NORM)
def test_the_norm_of_every_row_is_kept(encoding) -> None:
    error = errors()
    assert torch.allclose(decoded(encoded(encoding, error)).norm(dim=1), error.norm(dim=1), rtol=1e-5)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_rows_of_zeros_show_no_frame(encoding) -> None:
    error = errors()
    error[3] = 0
    frames = encoded(encoding, error)
    assert not frames.patterns[:, 3].any()
    assert not frames.shown[:, 3].any()
    assert torch.isfinite(frames.scale).all()
    assert torch.equal(frames.shown > 0, frames.patterns.any(-1))


@pytest.mark.parametrize("encoding", [e for e in ENCODINGS if not isinstance(e, Float)])
def test_mirrors_are_on_or_off(encoding) -> None:
    assert set(encoded(encoding, errors()).patterns.unique().tolist()) == {0.0, 1.0}


def test_ternary_keeps_the_signs_of_the_large_entries() -> None:
    frames = encoded(Ternary(0.5), torch.tensor([[1.0, 0.6, -0.4, -0.7], [0.0, 0.1, -0.04, -0.2]]))
    assert frames.patterns[0].tolist() == [[1, 1, 0, 0], [0, 0, 0, 0]]
    assert frames.patterns[1].tolist() == [[0, 0, 0, 1], [0, 0, 0, 1]]
    assert frames.shown.tolist() == [[1, 0], [1, 1]]
    absolute = encoded(Ternary(0.15, relative=False), torch.tensor([[0.0, 0.1, -0.04, -0.2]]))
    assert absolute.patterns[:, 0].tolist() == [[0, 0, 0, 0], [0, 0, 0, 1]]


def test_bitplanes_approach_the_error_by_six_decibels_a_bit() -> None:
    error = errors(500)
    distance = [float((decoded(encoded(Bitplanes(bits), error)) - error).norm()) for bits in (3, 4, 5, 6, 7)]
    for coarse, fine in itertools.pairwise(distance):
        assert 1.6 < coarse / fine < 2.5


def test_float_is_exact() -> None:
    error = errors()
    assert torch.allclose(decoded(encoded(Float(), error)), error, atol=1e-7)


def test_two_scales_keep_a_sum_of_zero() -> None:
    frames = encoded(TwoScales(0.4), torch.tensor([[-1.0, 0.5, 0.4, 0.1, 0.0], [0.9, -0.6, -0.3, -0.1, 0.1]]))
    assert frames.patterns[0].tolist() == [[0, 1, 1, 0, 0], [1, 0, 0, 0, 0]]
    assert frames.patterns[1].tolist() == [[1, 0, 0, 0, 0], [0, 1, 1, 0, 0]]
    error = errors(500)
    assert decoded(encoded(TwoScales(), error)).sum(1).abs().max() < 1e-6
    assert decoded(encoded(Ternary(), error)).sum(1).abs().mean() > 0.1
    # A sum that is not zero changes only by the factor that restores the norm.
    error = torch.randn(500, 10, generator=torch.Generator().manual_seed(2))
    found = decoded(encoded(TwoScales(), error)).sum(1) / error.sum(1)
    assert (found > 0.5).all()
    assert (found < 2).all()


def largest(error: torch.Tensor, encoding) -> torch.Tensor:
    """Return the scale `m` of each component, computed one by one."""
    rows = error.tolist()
    return torch.tensor(
        [
            [max(abs(x) for x in row if isinstance(encoding, Dithered) or x * y >= 0) for y in row]
            for row in rows
        ]
    )


@pytest.mark.parametrize("encoding", DITHERED)
def test_dithering_has_the_mean_variance_norm_and_frames_of_its_formulas(encoding) -> None:
    """Each number is within `SIGMAS` standard deviations of its formula, for 20,000 draws of 8 rows."""
    draws, rows = 20_000, 8
    error = errors(rows)
    error[0] = error[0].abs()  # a row without negative components
    error[1] = torch.tensor([-1.0] + [1 / 9] * 9)
    frames = encoded(encoding, error.repeat(draws, 1))
    found = decoded(frames).double().view(draws, rows, -1)
    size, m = error.abs().double(), largest(error, encoding).double()
    p = size / m
    variance = size * (m - size)
    assert ((found.mean(0) - error).abs() <= SIGMAS * (variance / draws).sqrt() + 1e-6).all()
    # The fourth central moment of a Bernoulli number is p (1 - p) (1 - 3 p (1 - p)).
    fourth = m**4 * p * (1 - p) * (1 - 3 * p * (1 - p))
    deviation = ((fourth - variance**2).clamp(min=0) / draws).sqrt() + variance.max() / draws
    assert ((found.var(0) - variance).abs() <= SIGMAS * deviation + 1e-6).all()
    norm = found.square().sum(2)
    expected = (m * size).sum(1)
    assert ((norm.mean(0) - expected).abs() <= SIGMAS * norm.std(0) / math.sqrt(draws) + 1e-6).all()
    assert (expected[1:] <= 2 * size.square().sum(1)[1:] + 1e-6).all()  # the rows whose sum is zero
    shown = frames.shown.sum(0).double().view(draws, rows)
    none = [torch.where(error * sign > 0, 1 - p, 1).prod(1) for sign in (1, -1)]
    expected = 2 - none[0] - none[1]
    assert ((shown.mean(0) - expected).abs() <= SIGMAS * shown.std(0) / math.sqrt(draws) + 1e-6).all()


def test_two_scales_lower_the_variance_of_dithering() -> None:
    error = errors(500)
    distances = [(decoded(encoded(encoding, error)) - error).square().sum() for encoding in DITHERED]
    assert distances[1] < 0.7 * distances[0]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_only_dithering_draws_random_numbers_one_for_each_component(encoding) -> None:
    ours, theirs = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    encoding.encode(errors(), ours)
    if encoding in DITHERED:
        torch.rand(errors().shape, generator=theirs)
    assert torch.equal(ours.get_state(), theirs.get_state())


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_sum_is_taken_back_and_the_norm_restored(encoding) -> None:
    error = errors()
    error[5] = torch.rand(10, generator=torch.Generator().manual_seed(4)) + 0.1  # its sum is not zero
    error[7] = 0
    frames = encoded(encoding, error)
    shown = decoded(frames)
    balanced = frames.without_sum(error)
    assert balanced.excess is not None
    found = decoded(balanced) - balanced.excess
    centred = shown - (shown.sum(1) - error.sum(1))[:, None] / 10
    expected = centred * (error.norm(dim=1) / centred.norm(dim=1).clamp(min=1e-20))[:, None]
    lit = shown.any(1)
    assert torch.allclose(found[lit], expected[lit], atol=1e-6)
    assert not found[~lit].any()
    sums = found.sum(1)
    sums[5] = 0
    assert sums.abs().max() < 1e-5
    part = balanced.rows(2, 9)
    assert part.excess is not None
    assert torch.equal(decoded(part) - part.excess, found[2:9])


def test_thresholds_and_bits_out_of_range_are_refused() -> None:
    with pytest.raises(DfaError, match=r"threshold is 1\. It must be a number from 0 to below 1"):
        Ternary(1)
    with pytest.raises(DfaError, match=r"threshold is -0\.1\. It must be a number of at least 0"):
        Ternary(-0.1, relative=False)
    with pytest.raises(DfaError, match=r"threshold is 1\. It must be a number from 0 to below 1"):
        TwoScales(1)
    with pytest.raises(DfaError, match="threshold is nan"):
        Ternary(float("nan"))
    with pytest.raises(DfaError, match=r"bits is 0\. It must be a whole number from 1 to 16"):
        Bitplanes(0)
