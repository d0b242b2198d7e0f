"""The read-outs: holography, its noise and its limits, and intensities, which are not linear."""

import itertools
import math
from functools import partial

import pytest
import torch
from optics import LIT, noise, one_frame, speckle

from dfa_cli.devices.opu import OPU, Camera, Ideal, Intensity, OffAxis, PhaseShifting, Row
from dfa_cli.devices.opu.encoding import Frames
from dfa_cli.devices.opu.readout.base import Reading
from dfa_cli.errors import DfaError

CONSTANT = partial(OffAxis, band_limited=False, demodulation="local")
NO_NOISE = Camera(bits=None, full_well=None, read_noise=0.0, photons=None, shot_noise=False)


def read(readout, camera: Camera, field: torch.Tensor, seed: int = 0, calibrated: float = LIT) -> Reading:
    readout.calibrate(calibrated, camera)
    return readout.read(field.clone(), one_frame(field.shape[1]), noise(seed))


def decibels(readout, camera: Camera, field: torch.Tensor) -> float:
    error = read(readout, camera, field).values - field[0, :, 0]
    return float(10 * torch.log10(field[0, :, 0].var() / error.var()))


@pytest.mark.parametrize("samples", [4, 5, 6, 9])
@pytest.mark.parametrize("kind", [OffAxis, CONSTANT, PhaseShifting])
def test_holography_without_noise_recovers_the_field(kind, samples: int) -> None:
    field = speckle()
    found = read(kind(samples), NO_NOISE, field).values
    assert torch.allclose(found, field[0, :, 0], atol=1e-4 * LIT**0.5)


@pytest.mark.parametrize("kind", [CONSTANT, PhaseShifting])
def test_holography_recovers_the_field_within_the_grey_levels(kind) -> None:
    """Each of the two pixels that count is off by half a level at most, which bounds their weighted sum."""
    readout = kind(4, headroom=6.0)
    camera = Camera(bits=8, read_noise=0.0, shot_noise=False, photons=None)
    field = speckle()
    error = read(readout, camera, field).values - field[0, :, 0]
    exposure = readout.fringes.exposure
    half_level = exposure.step / exposure.gain / 2
    bound = half_level * sum(abs(weight) for _, _, weight in readout.fringes.weights)
    assert float(error.abs().max()) <= bound * 1.001
    assert float(error.abs().max()) > bound * 0.8


@pytest.mark.parametrize("kind", [OffAxis, PhaseShifting])
def test_signal_to_noise_rises_six_decibels_a_bit(kind) -> None:
    """A bit more gives 20 log10(2) = 6.02 dB, from 6 to 12 bits, within 0.2 dB."""
    field = speckle()
    found = [
        decibels(kind(4, headroom=6.0), Camera(bits=b, read_noise=0, shot_noise=False, photons=None), field)
        for b in range(6, 13)
    ]
    for coarse, fine in itertools.pairwise(found):
        assert fine - coarse == pytest.approx(20 * math.log10(2), abs=0.2)


@pytest.mark.parametrize("kind", [OffAxis, PhaseShifting])
def test_signal_to_noise_rises_ten_decibels_a_decade_of_photons_until_other_noise_dominates(kind) -> None:
    field = speckle()
    shot_only = [
        decibels(kind(4), Camera(bits=None, full_well=None, read_noise=0, photons=p), field)
        for p in (1e2, 1e3, 1e4, 1e5)
    ]
    for few, many in itertools.pairwise(shot_only):
        assert many - few == pytest.approx(10.0, abs=0.2)
    limited = [
        decibels(kind(4, headroom=6.0), Camera(bits=6, full_well=1e9, photons=p), field) for p in (1e6, 1e7)
    ]
    assert limited[1] - limited[0] < 0.1  # grey levels
    limited = [decibels(kind(4), Camera(bits=12, full_well=1e4, photons=p), field) for p in (1e5, 1e6)]
    assert limited[1] - limited[0] < 0.01  # a full well takes no more photons
    dark = [
        decibels(kind(4), Camera(bits=None, full_well=None, read_noise=200, photons=p), field)
        for p in (10, 100)
    ]
    assert dark[1] - dark[0] == pytest.approx(20.0, abs=0.5)  # read noise: 20 dB a decade


def test_shot_noise_of_a_hologram_has_the_variance_of_its_equation() -> None:
    """The variance is `(|E|^2 + R^2) / (2 P V^2 R^2 gain)`, within 5 standard errors."""
    readout = OffAxis()
    camera = Camera(bits=None, full_well=None, read_noise=0.0, photons=2000.0)
    field = torch.tensor([3.0, -8.0]).repeat(200_000, 1).T.reshape(1, 1, 2, -1).contiguous()
    error = read(readout, camera, field).values - 3.0
    fringes = readout.fringes
    expected = (73 + fringes.amplitude**2) / (
        2 * 4 * fringes.visibility**2 * fringes.amplitude**2 * fringes.exposure.gain
    )
    assert float(error.var()) == pytest.approx(expected, rel=5 * math.sqrt(2 / 200_000))


def test_off_axis_and_phase_shifting_agree() -> None:
    """They give the same field up to noise; their noise differs by the contrast that pixels lose in the band.

    Over the band of the fringes, from 1/4 to 1/2 cycle a pixel, the mean of `1 / sinc^2` is 1.696.
    """
    field, camera = speckle(), Camera(bits=12, photons=1000.0)
    off_axis, stepped = (
        read(OffAxis(), camera, field).values,
        read(PhaseShifting(), camera, field, seed=1).values,
    )
    errors = [found - field[0, :, 0] for found in (off_axis, stepped)]
    difference = (off_axis - stepped).var()
    assert float(difference) == pytest.approx(float(errors[0].var() + errors[1].var()), rel=0.02)
    assert float(errors[0].var() / errors[1].var()) == pytest.approx(1.696, rel=0.04)


def test_superposition_holds_within_noise() -> None:
    """Reading two fields and adding equals reading their sum, within 5 standard errors of mean and slope."""
    first, second, camera = speckle(seed=2, lit=20), speckle(seed=3, lit=20), Camera(bits=10)
    together = read(OffAxis(), camera, first + second, 4).values
    apart = read(OffAxis(), camera, first, 5).values + read(OffAxis(), camera, second, 6).values
    true = (first + second)[0, :, 0]
    difference = together - apart
    error = float(difference.std()) / math.sqrt(difference.numel())
    assert abs(float(difference.mean())) < 5 * error
    slope = float((difference * true).mean() / true.square().mean())
    assert abs(slope) < 5 * error / float(true.std())


def test_saturation_clips_and_is_counted() -> None:
    camera = Camera(bits=None, read_noise=0.0, shot_noise=False, photons=None)
    field = speckle(lit=LIT * 2)  # twice the light of the calibration frame
    assert 0.0003 < _full(read(OffAxis(), camera, field)) < 0.005
    reading = read(CONSTANT(), camera, field)
    assert 0.0005 < _full(reading) < 0.005
    wrong = (reading.values - field[0, :, 0]).abs() > 1e-3
    assert 0 < int(wrong.sum()) <= int(reading.full)
    assert float(reading.values.abs().max()) < float(field[0, :, 0].abs().max())
    roomy = read(OffAxis(headroom=8.0), camera, field)
    assert int(roomy.full) == 0


def _full(reading: Reading) -> float:
    return float(reading.full) / reading.pixels / len(reading.values)


def test_intensity_has_the_kernel_of_its_equation() -> None:
    """`E |Tx|^2 |Tz|^2 = 4 (|x|^2 |z|^2 + <x, z>^2)` over the modes of one medium, within 5 standard errors."""
    modes, overlap = 400_000, 30
    parts = torch.randn(3, 2, modes, generator=noise(7))
    # x lights 50 mirrors, z lights 40, and 30 of them are the same. So both fields are sums of three groups.
    shared, only_x, only_z = parts[0] * overlap**0.5, parts[1] * 20**0.5, parts[2] * 10**0.5
    field = torch.stack([shared + only_x, shared + only_z])[None]
    patterns = torch.zeros(1, 2, 60)
    patterns[0, 0, :50], patterns[0, 1, 20:60] = 1, 1
    frames = Frames(patterns, torch.ones(1, 2), (1.0,), torch.ones(2, 1))
    readout = Intensity()
    readout.calibrate(LIT, NO_NOISE)
    light = readout.read(field, frames, noise()).values
    # The scale that makes E y^2 = |e|^2 is undone here, since the kernel is that of the intensity itself.
    for row, lit in enumerate((50, 40)):
        light[row] *= math.sqrt(4 * 2 * lit**2 / lit)
    products = (light[0] * light[1]).double()
    expected = 4 * (50 * 40 + overlap**2)
    assert abs(float(products.mean()) - expected) < 5 * float(products.std()) / math.sqrt(modes)


def test_intensity_is_not_linear() -> None:
    field = speckle()
    once, twice = read(Intensity(), NO_NOISE, field).values, read(Intensity(), NO_NOISE, 2 * field).values
    assert torch.allclose(twice, 4 * once, rtol=1e-4)
    assert float(once.min()) >= 0


def test_ideal_gives_the_real_part() -> None:
    field = speckle()
    assert torch.equal(read(Ideal(), Camera(), field).values, field[0, :, 0])


def test_a_frame_that_is_not_shown_adds_no_noise() -> None:
    field = torch.zeros(2, 3, 2, 100)
    shown = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    frames = Frames(torch.zeros(2, 3, 5), shown, (1.0, -1.0), torch.ones(3, 1))
    for readout in (OffAxis(), PhaseShifting()):
        readout.calibrate(LIT, Camera())
        both, one, none = readout.read(field.clone(), frames, noise()).values
        assert float(both.var()) > 1.3 * float(one.var()) > 0
        assert not none.any()


def test_arguments_out_of_bounds_are_refused() -> None:
    for make, words in (
        (lambda: OffAxis(3), "grain is 3. It must be a whole number from 4 to 256"),
        (
            lambda: OffAxis(demodulation="hilbert"),
            "demodulation is hilbert. It must be one of fourier, local",
        ),
        (lambda: OffAxis(band_limited=False), "demodulation=fourier needs a field that is limited to a band"),
        (lambda: PhaseShifting(2), "steps is 2. It must be a whole number from 3 to 256"),
        (lambda: OffAxis(reference=0), "reference is 0. It must be a number greater than 0"),
        (
            lambda: OffAxis(visibility=1.5),
            "visibility is 1.5. It must be a number above 0 and up to 1",
        ),
        (lambda: OffAxis(headroom=0), "headroom is 0. It must be a number greater than 0"),
        (lambda: Intensity(headroom=-1), "headroom is -1"),
        (lambda: Row(0), "modes is 0. It must be a whole number of at least 1"),
        (lambda: Row(8, grain=2), "grain is 2. It must be a whole number from 4 to 256"),
        (
            lambda: OPU().prepare(10, 0, torch.device("cpu")),
            "at least one component and one mode, not 10 and 0",
        ),
        (
            lambda: OPU().prepare(0, 10, torch.device("cpu")),
            "at least one component and one mode, not 0 and 10",
        ),
    ):
        with pytest.raises(DfaError, match=words):
            make()


@pytest.mark.parametrize("photons", [0.1, 1.0, 10.0])
def test_little_light_costs_noise_and_no_signal(photons: float) -> None:
    """Regressed on the field, the values have slope 1 within 5 standard errors: read noise is not clipped."""
    field = speckle(50, 20_000)
    true = field[0, :, 0]
    found = read(OffAxis(), Camera(photons=photons), field)
    slope = float((found.values * true).mean() / true.square().mean())
    error = float((found.values - true).std() / true.std()) / math.sqrt(true.numel())
    assert slope == pytest.approx(1.0, abs=5 * error)
    assert float(found.full) / found.pixels / len(true) < 1e-3


@pytest.mark.parametrize("readout", [OffAxis(), PhaseShifting(), Intensity()])
def test_saturated_pixels_are_counted_in_shown_frames_only(readout) -> None:
    """With read noise above the full well, a third of all dark pixels saturate. Frames not shown must add none."""
    camera, rows = Camera(full_well=1000.0, read_noise=2000.0), 40
    shown = torch.zeros(2, rows)
    shown[0, : rows // 2] = 1.0
    field = torch.cat([speckle(rows), torch.zeros(1, rows, 2, 2000)]) * shown[:, :, None, None]
    readout.calibrate(LIT, camera)
    found = readout.read(field, Frames(shown.unsqueeze(2), shown, (1.0, -1.0), torch.ones(rows, 1)), noise())
    assert 0.2 < float(found.full) / (found.pixels * rows // 2) < 1.0
    nothing = Frames(torch.zeros(2, rows, 1), torch.zeros(2, rows), (1.0, -1.0), torch.ones(rows, 1))
    assert float(readout.read(torch.zeros_like(field), nothing, noise()).full) == 0.0
