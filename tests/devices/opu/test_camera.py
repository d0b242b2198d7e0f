"""The camera: shot noise, read noise, grey levels, saturation, exposure."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from dfa_cli.devices.opu import Camera
from dfa_cli.devices.opu.camera import Exposure
from dfa_cli.errors import DfaError

ONE_TO_ONE = Exposure(gain=1.0, range=float("inf"), step=0.0)
SHOT_ONLY = Camera(bits=None, full_well=None, read_noise=0.0, photons=None)


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("mean", [0.1, 1.0, 20.0, 63.0, 65.0, 200.0, 5000.0])
def test_shot_noise_variance_equals_the_mean(mean: float) -> None:
    """Mean, variance and third moment are those of Poisson numbers, within 5 standard errors.

    The means lie on both sides of 64 photons, where the method changes.
    """
    n = 200_000
    counts = SHOT_ONLY.measure(torch.full((n,), mean), ONE_TO_ONE, noise())[0].double().numpy()
    assert abs(counts.mean() - mean) < 5 * math.sqrt(mean / n)
    assert abs(counts.var() - mean) < 5 * math.sqrt((mean + 2 * mean**2) / n)
    third = ((counts - mean) ** 3).mean()
    assert abs(third - mean) < 5 * math.sqrt(15 * mean**3 + 25 * mean**2 + mean) / math.sqrt(n)


@pytest.mark.parametrize("mean", [64.5, 300.0])
def test_above_64_photons_the_distribution_is_close_to_poisson(mean: float) -> None:
    """The distribution functions differ by less than 0.004, sampling error of 400,000 draws included."""
    counts = SHOT_ONLY.measure(torch.full((400_000,), mean), ONE_TO_ONE, noise(1))[0].numpy()
    levels = np.arange(int(mean - 5 * mean**0.5), int(mean + 5 * mean**0.5))
    found = np.searchsorted(np.sort(counts), levels + 0.5) / counts.size
    assert np.abs(found - stats.poisson.cdf(levels, mean)).max() < 0.004


def test_read_noise_adds_its_variance() -> None:
    n = 200_000
    for shot, expected in ((False, 49.0), (True, 49.0 + 500.0)):
        camera = Camera(bits=None, full_well=None, read_noise=7.0, photons=None, shot_noise=shot)
        counts = camera.measure(torch.full((n,), 500.0), ONE_TO_ONE, noise(2))[0]
        assert float(counts.var()) == pytest.approx(expected, rel=5 * math.sqrt(2 / n))
    dim = Camera(bits=None, full_well=None, read_noise=3.0, photons=None)
    counts = dim.measure(torch.full((n,), 4.0), ONE_TO_ONE, noise(3))[0]
    assert float(counts.var()) == pytest.approx(13.0, rel=0.02)


def test_grey_levels_are_whole_numbers_with_the_error_of_rounding() -> None:
    camera = Camera(bits=6, full_well=6300.0, read_noise=0.0, shot_noise=False, photons=None)
    exposure = camera.expose(1000.0, 6300.0)
    assert exposure.step == pytest.approx(100.0)
    intensity = torch.rand(100_000, generator=noise(4)) * 6300
    measured, _ = camera.measure(intensity.clone(), exposure, noise())
    levels = measured / 100
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    assert int(levels.max()) == 63
    assert float((measured - intensity).var()) == pytest.approx(100**2 / 12, rel=0.02)


def test_a_full_pixel_clips_and_is_counted() -> None:
    camera = Camera(bits=8, full_well=1000.0, read_noise=0.0, shot_noise=False, photons=None)
    exposure = camera.expose(100.0, 1000.0)
    measured, full = camera.measure(torch.tensor([10.0, 999.0, 1000.0, 5000.0]), exposure, noise())
    assert int(full) == 2
    assert measured[2] == measured[3] == pytest.approx(1000.0)


def test_automatic_exposure_fills_the_well_or_takes_all_light() -> None:
    bright = Camera(full_well=10_000.0, photons=1e6).expose(mean=5.0, peak=25.0)
    assert bright.gain == pytest.approx(400.0)
    assert bright.ceiling == pytest.approx(25.0)
    dark = Camera(full_well=10_000.0, photons=100.0).expose(mean=5.0, peak=25.0)
    assert dark.gain == pytest.approx(20.0)
    assert dark.ceiling == pytest.approx(
        26.0
    )  # the converter follows, with room for four times the read noise
    assert dark.step == pytest.approx(520 / 255)
    fixed = Camera(full_well=10_000.0, photons=1000.0, exposure=20.0).expose(mean=5.0, peak=25.0)
    assert fixed.gain == pytest.approx(4000.0)
    assert fixed.ceiling == pytest.approx(2.5)  # over-exposed


def test_arguments_out_of_bounds_are_refused() -> None:
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({"bits": 0}, "bits is 0. It must be a whole number from 1 to 24, or null"),
        ({"full_well": 0}, "full_well is 0. It must be a number greater than 0, in photoelectrons, or null"),
        ({"photons": -1}, "photons is -1"),
        ({"read_noise": -1}, "read_noise is -1. It must be a number of at least 0"),
        ({"exposure": "long"}, "exposure is long. It must be auto, or a number greater than 0"),
        ({"exposure": 1.0, "photons": None}, "needs device.camera.photons"),
        ({"full_well": None}, "bits needs device.camera.full_well"),
    ]
    for arguments, words in mistakes:
        with pytest.raises(DfaError, match=words):
            Camera(**arguments)
