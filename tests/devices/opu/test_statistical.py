"""The statistical model of a read-out agrees with the pixels of the same read-out."""

import itertools
import math

import pytest
import torch
from optics import LIT, noise, one_frame, speckle
from program import Dfa

from dfa_cli.config.compose import compose_run
from dfa_cli.config.instantiate import build
from dfa_cli.devices.opu import Camera, OffAxis, PhaseShifting, Statistical
from dfa_cli.devices.opu.encoding import Frames

# (bits, photons, mirrors lit). In all of them the noise on a pixel is above a third of a grey level.
GRID = [
    *itertools.product([6, 8, 12], [10, 100, 1000, 1e5], [1, 10, 50, 100]),
    *itertools.product([6, 8], [0.1, 1, 3], [10, 50]),
    (4, 10, 50),
    (4, 100, 50),
    (4, 100, 10),
]


def errors(readout, camera: Camera, field: torch.Tensor, seed: int) -> tuple[torch.Tensor, float]:
    readout.calibrate(LIT, camera)
    reading = readout.read(field.clone(), one_frame(field.shape[1]), noise(seed))
    return reading.values - field[0, :, 0], float(reading.full) / reading.pixels / field.shape[1]


@pytest.mark.parametrize(("bits", "photons", "lit"), GRID)
def test_mean_and_variance_agree_with_the_pixels(bits: int, photons: float, lit: float) -> None:
    """Mean, slope on the signal and variance of both agree over 100,000 modes.

    Means and slopes agree within 5 standard errors. Variances agree within 3 per cent: 5 standard errors are 2.2.
    At twice the light of the calibration frame, one pixel in a thousand is full. So few modes carry a part of the
    variance there that it agrees within 20 per cent only.
    """
    camera, field = Camera(bits=bits, photons=photons), speckle(50, 2000, lit, seed=int(lit))
    pixels, full = errors(OffAxis(), camera, field, 1)
    model, model_full = errors(Statistical(), camera, field, 2)
    true = field[0, :, 0]
    spread = math.sqrt(float(pixels.var() + model.var()) / true.numel())
    assert abs(float(pixels.mean() - model.mean())) < 5 * spread
    slope = float(((pixels - model) * true).mean() / true.square().mean())
    # Single precision and the clipping of noisy pixels may add 0.4 per cent.
    assert abs(slope) < 5 * spread / float(true.std()) + 0.004
    assert float(model.var() / pixels.var()) == pytest.approx(1.0, abs=0.03 if lit <= LIT else 0.2)
    assert model_full == pytest.approx(full, abs=0.0025)


@pytest.mark.parametrize(
    "of",
    [
        OffAxis(6),
        OffAxis(reference=1.0, visibility=0.7),
        OffAxis(band_limited=False, demodulation="local"),
        PhaseShifting(),
        PhaseShifting(5),
    ],
)
def test_other_read_outs_agree_too(of) -> None:
    camera, field = Camera(), speckle(50, 2000, LIT)
    pixels, _ = errors(of, camera, field, 1)
    model, _ = errors(Statistical(of), camera, field, 2)
    assert float(model.var() / pixels.var()) == pytest.approx(1.0, abs=0.03)
    assert abs(float(pixels.mean() - model.mean())) < 5 * math.sqrt(float(2 * model.var()) / model.numel())
    assert (Statistical(of).exposures, Statistical(of).pixels_per_mode) == (of.exposures, of.pixels_per_mode)


@pytest.mark.parametrize("device", ["opu_holographic", "opu_phase_shifting", "opu_lighton"])
def test_the_statistical_read_out_of_a_preset_has_the_noise_of_its_pixels(device: str) -> None:
    of, statistical = (
        build(compose_run(["data=digits", f"device={device}", *words]).config["device"]["readout"])
        for words in ([], ["device/readout=statistical"])
    )
    assert isinstance(statistical, Statistical)
    camera, field = Camera(), speckle(50, 2000, LIT)
    pixels, _ = errors(of, camera, field, 1)
    model, _ = errors(statistical, camera, field, 2)
    assert float(model.var() / pixels.var()) == pytest.approx(1.0, abs=0.03)
    assert (statistical.exposures, statistical.pixels_per_mode) == (of.exposures, of.pixels_per_mode)


def test_noise_grows_with_the_signal_of_each_mode() -> None:
    """In each fifth of the modes, by brightness, both variances agree within 5 standard errors."""
    camera, field = Camera(bits=12, photons=100.0), speckle(100, 2000, 2 * LIT)
    brightness = field[0].square().sum(1).flatten()
    order = brightness.argsort()
    model, _ = errors(Statistical(OffAxis(reference=1.0, headroom=6.0)), camera, field, 2)
    pixels, _ = errors(OffAxis(reference=1.0, headroom=6.0), camera, field, 1)
    found = [[float(e.flatten()[part].var()) for part in order.chunk(5)] for e in (model, pixels)]
    for of_model, of_pixels in zip(*found, strict=True):
        assert of_model == pytest.approx(of_pixels, rel=5 * math.sqrt(4 / 40_000))
    assert found[0][-1] > 1.2 * found[0][0]


def test_weights_and_frames_enter_the_variance() -> None:
    """Both variances agree for frames with weights 1, 2, -4, one of which is not shown in the second row."""
    field = torch.randn(3, 2, 2, 100_000, generator=noise(3)) * LIT**0.5
    shown = torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    field[1, 1] = 0
    frames = Frames(torch.ones(3, 2, 1), shown, (1.0, 2.0, -4.0), torch.tensor([[1.0], [0.5]]))
    true = torch.einsum("frn,f->rn", field[:, :, 0], torch.tensor(frames.weights)) * frames.scale
    found = []
    for readout in (OffAxis(), Statistical()):
        readout.calibrate(LIT, Camera(photons=100.0))
        found.append((readout.read(field.clone(), frames, noise(4)).values - true).var(1))
    assert torch.allclose(found[0], found[1], rtol=0.03)


def test_a_camera_without_noise_gives_the_exact_field() -> None:
    field = speckle()
    camera = Camera(bits=None, full_well=None, read_noise=0.0, photons=None, shot_noise=False)
    found, full = errors(Statistical(), camera, field, 0)
    assert not found.any()
    assert full == 0


def test_a_run_warns_of_a_camera_of_few_bits_once(dfa: Dfa) -> None:
    words = ["data=digits", "model.hidden=[4]", "epochs=2", "device=opu_sim", "device.camera.bits=4"]
    answer = dfa.train(*words, "progress=lines")
    assert " ".join(answer.out.split()).count("does not hold for a camera of 4 bits") == 1
    (run,) = dfa.runs()
    assert run.record["warnings"] == [
        "device/readout=statistical does not hold for a camera of 4 bits: the light of one lit component varies by "
        "0.59 grey levels, too few to round like noise. Use device/readout=off_axis, or device.camera.bits=5 or more."
    ]


def test_the_read_out_of_a_camera_of_few_bits_has_a_caution() -> None:
    readout = Statistical(PhaseShifting())
    readout.calibrate(LIT, Camera(bits=4))
    assert "Use device/readout=phase_shifting," in (readout.caution or "")
    readout.calibrate(LIT, Camera(bits=8))
    assert readout.caution is None


@pytest.mark.parametrize(
    ("wrapped", "classes", "camera"),
    [
        (PhaseShifting(), 100, Camera(bits=5)),
        (OffAxis(), 10, Camera(exposure=1.0, photons=2500.0, full_well=1e6)),
        (OffAxis(), 500, Camera(bits=5)),
        (OffAxis(), 100, Camera(bits=6)),
        (PhaseShifting(), 10, Camera()),
    ],
)
def test_the_caution_comes_where_the_pixels_differ(wrapped, classes: int, camera: Camera) -> None:
    """A pattern with one component lit, read on pixels and by the model. They agree in 5 per cent, or it is said."""
    model = Statistical(wrapped)
    model.calibrate(classes / 2, camera)
    rows = 32
    field = torch.randn(1, rows, 2, 2048, generator=noise(3))
    frames = Frames(torch.ones(1, rows, 1), torch.ones(1, rows), (1.0,), torch.ones(rows, 1))
    deviations = [
        (one.read(field.clone(), frames, noise(4)).values - field[0, :, 0]).std() for one in (wrapped, model)
    ]
    ratio = float(deviations[0] / deviations[1])
    assert (model.caution is None) == (abs(ratio - 1) < 0.05)


@pytest.mark.parametrize(("bits", "light"), [(5, 1.0), (5, 0.02), (8, 0.2), (12, 1.0)])
@pytest.mark.parametrize("demodulation", ["fourier", "local"])
def test_from_five_bits_on_the_deviation_is_within_five_per_cent(
    bits: int, light: float, demodulation: str
) -> None:
    of, camera = OffAxis(demodulation=demodulation), Camera(bits=bits, photons=2500.0)
    field = speckle(30, 1024, light * LIT)
    pixels, _ = errors(of, camera, field, 1)
    model, _ = errors(Statistical(of), camera, field, 2)
    assert float(model.std() / pixels.std()) == pytest.approx(1.0, abs=0.05)
