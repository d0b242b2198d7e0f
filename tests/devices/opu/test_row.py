"""A row of the camera: band-limited speckle, its spectrum, and what demodulation makes of it."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from optics import LIT, noise, one_frame, speckle
from scipy import stats

from dfa_cli.config.auto import resolve_auto
from dfa_cli.config.compose import compose_run
from dfa_cli.config.instantiate import build
from dfa_cli.devices.opu import Camera, OffAxis, PhaseShifting, Row, Statistical, noise_budget
from dfa_cli.devices.opu.readout import off_axis
from dfa_cli.errors import DfaError


def field_of(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex64, generator=noise(seed))


@pytest.mark.parametrize("demodulation", ["fourier", "local"])
@pytest.mark.parametrize(("modes", "grain"), [(8, 4), (7, 5), (16, 6)])
def test_the_intensity_is_that_of_its_equation(modes: int, grain: int, demodulation: str) -> None:
    """`E(x)` is summed term by term, and `|E(x) + R exp(-i k x)|^2` is averaged over 400 points of each pixel."""
    row, reference, visibility = Row(modes, grain, demodulation, 0.8), 3.0, 0.8
    field = field_of(modes)
    points = (np.arange(400) + 0.5) / 400 - 0.5
    pixels = np.arange(modes * grain)
    x = (pixels[:, None] + points - (grain - 1) / 2) / grain
    frequency = np.arange(modes) - modes // 2
    samples = field.numpy().astype(complex)
    amplitudes = np.array(
        [np.mean(samples * np.exp(-2j * np.pi * f * np.arange(modes) / modes)) for f in frequency]
    )
    light = (amplitudes * np.exp(2j * np.pi * frequency * x[..., None] / modes)).sum(-1)
    carrier = np.exp(2j * np.pi * row.carrier * x / modes)
    expected = np.abs(light) ** 2 + reference**2 + 2 * visibility * reference * (light * carrier).real
    assert np.allclose(row.intensity(field, reference).numpy(), expected.mean(1), atol=1e-4)


@pytest.mark.parametrize("modes", [1, 2, 7, 100, 256])
@pytest.mark.parametrize("grain", [4, 5, 8])
def test_demodulation_in_fourier_space_is_exact_without_noise(modes: int, grain: int) -> None:
    row, field = Row(modes, grain, visibility=0.7), field_of(20, modes)
    assert torch.allclose(row.demodulate(row.intensity(field, 2.0), 2.0), field, atol=2e-5)


def test_demodulation_in_fourier_space_is_a_fixed_linear_map() -> None:
    """The FFT equals the product with the dense matrix of `window, shift, sample at the modes`, in double precision."""
    modes, grain, reference = 32, 4, 2.5
    row = Row(modes, grain)
    p, m = np.arange(modes * grain), np.arange(modes)
    x = (p - (grain - 1) / 2) / grain
    matrix = np.zeros((modes, modes * grain), dtype=complex)
    for k in range(modes, 2 * modes):
        shifted = np.exp(2j * np.pi * (k - row.carrier) * m / modes)
        matrix += np.outer(shifted, np.exp(-2j * np.pi * k * x / modes)) / np.sinc(k / len(p))
    matrix /= reference * len(p)
    intensity = torch.rand(5, modes * grain, generator=noise())
    expected = intensity.numpy() @ matrix.T
    assert np.allclose(row.demodulate(intensity, reference).numpy(), expected, atol=1e-5)
    # By Parseval's theorem, the noise that passes is the sum of the squared weights of the real part.
    assert row.moments().noise == pytest.approx((np.real(matrix) ** 2).sum(1).mean() * reference**2, rel=1e-6)


def test_the_bands_do_not_overlap_at_three_eighths_of_the_sampling_frequency() -> None:
    row = Row(64)
    assert row.carrier / row.pixels == 3 / 8
    spectrum = row.spectrum(row.intensity(field_of(100, 64), 0.0))  # |E|^2 alone
    assert float(spectrum[:, row.band].abs().max()) < 1e-5
    fringes = row.spectrum(row.intensity(field_of(100, 64), 50.0))
    outside = fringes[:, 64:].clone()
    outside[:, :64] = 0
    assert float(outside.abs().max()) < 1e-4 < float(fringes[:, row.band].abs().max())


def test_the_sum_of_a_grains_pixels_loses_what_the_formula_says() -> None:
    """Crosstalk and the leakage of `|E|^2` have the variances of `Moments`, within their 99.9 % bounds."""
    row, reference = Row(64, demodulation="local"), 2.0
    field = field_of(4000, 64)  # S = 1
    moments = row.moments()
    error = row.real_part(row.intensity(field, reference), reference) - moments.gain * field.real
    expected = moments.crosstalk + moments.leakage / reference**2
    # The values in a row are correlated, so the bound counts the rows.
    bound = stats.norm.ppf(0.9995) * float(error.square().mean(1).std()) / math.sqrt(len(field))
    assert float(error.square().mean()) == pytest.approx(expected, abs=float(bound))
    slope = float(
        (row.real_part(row.intensity(field, 1e4), 1e4) * field.real).mean() / field.real.square().mean()
    )
    assert slope == pytest.approx(moments.gain, abs=0.01)


@pytest.mark.parametrize("demodulation", ["fourier", "local"])
def test_noise_of_the_pixels_passes_with_the_variance_of_the_formula(demodulation: str) -> None:
    """White noise on the pixels gives the variance `noise / R^2`, within its 99.9 % bounds."""
    row = Row(64, demodulation=demodulation)
    values = row.real_part(torch.randn(4000, row.pixels, generator=noise(3)), 1.0)[:, ::8]
    n = values.numel()
    low, high = stats.chi2.ppf([0.0005, 0.9995], n) / n
    assert low < float(values.square().mean()) / row.moments().noise < high


def test_a_part_is_read_alike_whatever_else_is_read() -> None:
    """A part of 600 modes takes three rows of 200. Its values are those of these rows alone, without noise."""
    camera = Camera(bits=None, full_well=None, read_noise=0.0, photons=None, shot_noise=False)
    field = speckle(8, 600)
    readout = OffAxis(demodulation="local")
    readout.calibrate(LIT, camera)
    whole = readout.read(field.clone(), one_frame(8), noise()).values
    thirds = [readout.read(part.clone(), one_frame(8), noise()).values for part in field.split(200, -1)]
    assert torch.allclose(whole, torch.cat(thirds, 1), atol=1e-4)


def test_how_many_modes_are_simulated_at_a_time_changes_the_noise_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    field, found = speckle(9, 700), []
    for at_once in (1 << 15, 1000):
        monkeypatch.setattr(off_axis, "MODES_AT_ONCE", at_once)
        readout = OffAxis()
        readout.calibrate(
            LIT, Camera(bits=None, full_well=None, read_noise=0.0, photons=None, shot_noise=False)
        )
        found.append(readout.read(field.clone(), one_frame(9), noise()).values)
    assert torch.allclose(found[0], found[1], atol=1e-4)


@pytest.mark.parametrize(
    "camera",
    [
        {},
        {"bits": 12, "photons": 100.0},
        {"bits": 6},
        {"photons": 3.0},
        {"exposure": 1.5, "photons": 2500.0},
        {"exposure": 2.0, "photons": 2500.0},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "readout", [OffAxis(), OffAxis(demodulation="local"), PhaseShifting()], ids=["f", "l", "p"]
)
def test_the_signal_to_noise_ratio_is_that_of_the_pixels(readout: OffAxis, camera: dict) -> None:
    """Within 0.5 dB in frames with a fifth, all and twice the light of the calibration frame."""
    for light in (0.2, 1.0, 2.0):
        field = speckle(30, 1024, light * LIT)
        readout.calibrate(LIT, Camera(**camera))
        found = readout.read(field.clone(), one_frame(30), noise()).values
        true = field[0, :, 0]
        measured = 10 * math.log10(float(true.square().mean() / (found - true).square().mean()))
        assert noise_budget(readout, light * LIT).snr_db == pytest.approx(measured, abs=0.5)


@pytest.mark.parametrize("wrapped", [OffAxis(), PhaseShifting()], ids=["off axis", "phase shifting"])
def test_threads_change_no_bit_of_the_budget(wrapped: OffAxis | PhaseShifting) -> None:
    readout, found, threads = Statistical(wrapped), set(), torch.get_num_threads()
    readout.calibrate(LIT, Camera(photons=2500.0))
    try:
        for count in (1, 2, 3, 4):
            torch.set_num_threads(count)
            found.add(tuple(noise_budget(readout, light * LIT).saturation for light in (1, 1.5, 2, 3)))
    finally:
        torch.set_num_threads(threads)
    assert len(found) == 1
    assert min(found.pop()) > 0


@pytest.mark.parametrize("grain", [64, 65, 128])
def test_the_threads_do_not_change_a_row_with_many_pixels(grain: int) -> None:
    """A long Fourier transform is divided among threads where there are fewer transforms than threads."""
    row, fields = Row(256, grain), [field_of(lines, 256) for lines in (1, 2, 3)]
    threads, found = torch.get_num_threads(), set()
    try:
        for count in (1, 2, 4):
            torch.set_num_threads(count)
            light = [row.intensity(field, 2.0) for field in fields]
            values = [row.real_part(intensity, 2.0) for intensity in light]
            bits = tuple(numbers.numpy().tobytes() for numbers in (*light, *values))
            found.add((row.moments(), bits))
    finally:
        torch.set_num_threads(threads)
    assert len(found) == 1


def test_the_budget_names_the_sources() -> None:
    """Each part grows with what it is named after; the statistical read-out has the budget of what it wraps."""

    def budget(readout: OffAxis, **camera):
        readout.calibrate(LIT, Camera(**camera))
        return noise_budget(readout, LIT)

    usual = budget(OffAxis(), photons=2500.0)
    assert usual.crosstalk == pytest.approx(0.0, abs=1e-9)
    assert usual.shot > max(usual.read, usual.grey_levels, usual.saturation)
    assert budget(OffAxis(), photons=2500.0, read_noise=50.0).read == pytest.approx(100 * usual.read, rel=0.1)
    assert budget(OffAxis(), photons=2500.0, bits=4).grey_levels == pytest.approx(17**2 * usual.grey_levels)
    assert budget(OffAxis(demodulation="local"), photons=2500.0).crosstalk > 10 * usual.noise
    wrapping = Statistical()
    wrapping.calibrate(LIT, Camera(photons=2500.0))
    assert noise_budget(wrapping, LIT) == usual
    assert usual.snr_db == pytest.approx(28.46, abs=0.1)


def test_what_python_reads_of_a_row_stays_on_the_cpu() -> None:
    """Otherwise each reading on a card would wait for it."""
    row = Row(8, demodulation="local").to(torch.device("meta"))
    assert row.contrast.is_meta
    light = torch.ones(3, row.pixels, device="meta")
    assert row.real_part(light, 1.0).shape == (3, 8)


@pytest.mark.parametrize("readout", [OffAxis(), PhaseShifting(), Statistical()], ids=["o", "p", "s"])
def test_the_budget_of_a_readout_that_is_not_calibrated_says_what_to_call(readout: OffAxis) -> None:
    with pytest.raises(DfaError, match=r"not calibrated.* Call device\.calibrate\(n_in, n_out\) first"):
        noise_budget(readout, LIT)


def test_the_budget_of_the_default_device_is_that_of_the_page() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "opu.md").read_text(encoding="utf-8")
    told = re.search(
        r"device\.calibrate\((\d+), (\d+)\).*\n +noise_budget\(device\.readout, (\d+)\)\.snr_db +# ([\d.]+)",
        page,
    )
    assert told
    device = build(resolve_auto(compose_run(["data=digits", "device=opu_sim"]).config)["device"])
    device.calibrate(int(told[1]), int(told[2]))
    assert noise_budget(device.readout, int(told[3])).snr_db == pytest.approx(float(told[4]), abs=0.005)
