"""Compiled noise against the same arithmetic in torch, and its random numbers against known ones."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from optics import LIT, noise, one_frame, speckle

from dfa_cli.config.auto import resolve_auto
from dfa_cli.config.compose import compose_run
from dfa_cli.data.loading import load_data
from dfa_cli.devices.opu import OPU, Camera, Intensity, OffAxis, PhaseShifting, Statistical
from dfa_cli.devices.opu import camera as camera_module
from dfa_cli.devices.opu import compiled as compiled_module
from dfa_cli.devices.opu.camera import COMPILED_FROM, Exposure
from dfa_cli.devices.opu.compiled import draw_keys, draw_words, normal_rows
from dfa_cli.devices.opu.dithering import DitheredTwoScales
from dfa_cli.devices.opu.encoding import Bitplanes, Frames, Ternary, TwoScales
from dfa_cli.devices.opu.readout import statistical as statistical_module
from dfa_cli.training.loop import LoopSettings, train
from dfa_cli.training.setup import build_experiment

LEVEL = 0.001
CAMERAS = {
    "8 bits": Camera(),
    "no grey levels and no full well": Camera(bits=None, full_well=None),
    "no shot noise": Camera(shot_noise=False),
    "no read noise": Camera(read_noise=0.0),
}


def same_normals(like: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Draw for torch what the compiled kernels draw."""
    rows = like.reshape(-1, like.shape[-1])
    return normal_rows(draw_keys(len(rows), generator), like.shape[-1]).view(like.shape)


def both(
    monkeypatch: pytest.MonkeyPatch, readout, camera: Camera, field: torch.Tensor, frames: Frames
) -> list[torch.Tensor]:
    """Read a field with compiled code and with torch, from the same normal numbers."""
    monkeypatch.setattr(camera_module, "normal_like", same_normals)
    monkeypatch.setattr(statistical_module, "normal_like", same_normals)
    values = []
    for compiled in (True, False):
        readout.calibrate(LIT, camera.on_device(2500.0, compiled))
        values.append(readout.read(field.clone(), frames, noise(1)).values)
    return values


def spied(function: Callable[..., Any], calls: list[Any]) -> Callable[..., Any]:
    """Return the function, which adds its arguments to `calls`."""

    def call(*arguments: Any) -> Any:
        calls.append(arguments)
        return function(*arguments)

    return call


@pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS)
@pytest.mark.parametrize("of", [OffAxis(), PhaseShifting()], ids=["off axis", "phase shifting"])
def test_the_statistical_read_out_has_the_values_of_torch(monkeypatch, camera: Camera, of) -> None:
    field = speckle(128, 1024, LIT / 4, seed=0)
    compiled, torchs = both(monkeypatch, Statistical(of), camera, field, one_frame(128))
    assert torch.allclose(compiled, torchs, rtol=0, atol=1e-6 * float(torchs.abs().max()))
    assert not torch.allclose(compiled, field[0, :, 0], rtol=0, atol=1e-3)  # there is noise


@pytest.mark.parametrize("encoding", [Ternary(), TwoScales(), DitheredTwoScales(), Bitplanes(3)])
def test_every_weight_of_a_pattern_counts(monkeypatch, encoding) -> None:
    """One weight for all rows, or one for each, of a row that is shown, or is not."""
    error = torch.randn(128, 20, generator=noise(2)) / 20
    error[3] = 0
    frames = encoding.encode(error, noise(3))
    count, rows, n_in = frames.patterns.shape
    matrix = torch.randn(n_in, 2 * 600, generator=noise(4))
    field = (frames.patterns.reshape(-1, n_in) @ matrix).view(count, rows, 2, 600)
    compiled, torchs = both(monkeypatch, Statistical(), Camera(), field, frames)
    assert torch.allclose(compiled, torchs, rtol=0, atol=1e-6 * float(torchs.abs().max()))
    assert not compiled[3].any()


@pytest.mark.parametrize(
    "readout",
    [
        PhaseShifting(),
        PhaseShifting(5),
        OffAxis(band_limited=False, demodulation="local"),
        OffAxis(),
        Intensity(),
    ],
    ids=["phase shifting", "five steps", "off axis, not band-limited", "off axis", "intensity"],
)
@pytest.mark.parametrize("camera", [Camera(bits=None), Camera(bits=None, photons=50.0)], ids=["auto", "dim"])
def test_patterns_without_light_and_dim_pixels_are_compiled_too(monkeypatch, readout, camera: Camera) -> None:
    images = []
    monkeypatch.setattr(compiled_module, "take_image", spied(compiled_module.take_image, images))
    error = torch.randn(256, 20, generator=noise(2)) / 20
    error[3] = 0
    error[4].abs_()  # one pattern only
    frames = Ternary().encode(error, noise(3))
    count, rows, n_in = frames.patterns.shape
    matrix = torch.randn(n_in, 2 * 600, generator=noise(4)) * (LIT / 8) ** 0.5
    field = (frames.patterns.reshape(-1, n_in) @ matrix).view(count, rows, 2, 600)
    compiled, torchs = both(monkeypatch, readout, camera, field, frames)
    assert images
    assert torch.allclose(compiled, torchs, rtol=0, atol=1e-6 * float(torchs.abs().max()))
    assert not compiled[3].any()


@pytest.mark.parametrize("compiled", [True, False])
def test_a_pixel_that_rounding_leaves_less_than_no_light_is_dark(compiled: bool) -> None:
    light = torch.full((100, 1000), -1e-6)
    camera = Camera(read_noise=0.0, bits=None).on_device(1.0, compiled)
    measured, _ = camera.measure(light, Exposure(gain=1.0, range=1e9, step=0.0), noise(1))
    assert not measured.any()


def test_full_pixels_are_counted_and_clipped_as_by_torch(monkeypatch) -> None:
    field, camera = speckle(128, 1024, 8 * LIT, seed=0), Camera(exposure=1.0)
    readout = Statistical()
    compiled, torchs = both(monkeypatch, readout, camera, field, one_frame(128))
    assert torch.allclose(compiled, torchs, rtol=0, atol=1e-6 * float(torchs.abs().max()))
    readout.calibrate(LIT, camera.on_device(2500.0, compiled=True))
    assert float(readout.read(field.clone(), one_frame(128), noise(1)).full) > 0


@pytest.mark.parametrize("camera", CAMERAS.values(), ids=CAMERAS)
@pytest.mark.parametrize("full_at", [1e9, 3000.0], ids=["no pixel full", "some pixels full"])
def test_an_image_has_the_grey_levels_of_torch(monkeypatch, camera: Camera, full_at: float) -> None:
    """But for a pixel in a thousand, which rounding lets fall on the other side of a grey level."""
    monkeypatch.setattr(camera_module, "normal_like", same_normals)
    light = 100 + 20 * torch.rand(3, 50, 600, generator=noise(0))
    if camera.full_well is None:
        full_at = float("inf")
    exposure = Exposure(gain=25.0, range=full_at, step=10.0 if camera.bits else 0.0)
    (compiled, full), (torchs, torchs_full) = (
        camera.on_device(1.0, compiled).measure(light.clone(), exposure, noise(1))
        for compiled in (True, False)
    )
    level = exposure.step / exposure.gain or 5e-3  # without grey levels, the rounding of single precision
    apart = (compiled - torchs).abs() / level
    assert float((apart > 0.01).float().mean()) < 1e-3
    assert float(apart.max()) < 1.01
    count, torchs_count = (int(torch.as_tensor(number).sum()) for number in (full, torchs_full))
    assert abs(count - torchs_count) <= 3
    assert (count > 0) == (full_at == 3000.0)


def test_a_pixel_that_is_no_number_stays_none() -> None:
    light = torch.full((100, 1000), 100.0)
    light[3, 4] = float("nan")
    exposure = Exposure(gain=1.0, range=400.0, step=10.0)
    measured, _ = Camera(shot_noise=False).on_device(1.0, compiled=True).measure(light, exposure, noise(1))
    assert measured.isnan().nonzero().tolist() == [[3, 4]]


def test_dim_pixels_keep_their_exact_numbers() -> None:
    light = torch.full((100, 1000), 3.0)
    exposure = Exposure(gain=1.0, range=1e9, step=0.0)
    camera = Camera(read_noise=0.0, bits=None)
    measured, _ = camera.on_device(1.0, compiled=True).measure(light, exposure, noise(1))
    assert torch.equal(measured, measured.round())  # Poisson numbers
    assert float(measured.mean()) == pytest.approx(3.0, abs=0.03)


@pytest.mark.parametrize("readout", [OffAxis, PhaseShifting, Intensity, Statistical])
def test_neither_threads_nor_other_parts_change_a_bit(readout) -> None:
    error = torch.randn(128, 10, generator=noise(0)) / 10
    spans, read = [(0, 600), (600, 1200)], []
    for threads, wanted in ((1, spans), (2, spans), (3, spans), (2, spans[1:])):
        torch.set_num_threads(threads)
        device = OPU(noise_seed=1, matrix_seed=1, readout=readout())
        device.prepare(10, 1200, torch.device("cpu"))
        read.append([part.clone() for part in device.project_parts(error, wanted)][-1])
    torch.set_num_threads(1)
    assert read[0].numel() >= COMPILED_FROM
    assert all(torch.equal(part, read[0]) for part in read)


def test_the_random_bits_are_those_of_splitmix64() -> None:
    """The first numbers after the seed 1234567, as other implementations print them."""
    words = np.empty(5, np.uint64)
    draw_words(words, np.uint64(1234567))
    assert words.tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_draws_are_normal_and_independent() -> None:
    z = normal_rows(draw_keys(1000, noise(0)), 400).numpy()
    assert scipy.stats.kstest(z.ravel(), "norm").pvalue > LEVEL
    bound = scipy.stats.norm.isf(LEVEL / 2)
    # Neighbours within a number of 64 bits, in the next one, and in the next row.
    for lag in (1, 2, 3, 4, 400):
        correlation = np.mean(z.ravel()[lag:] * z.ravel()[:-lag])
        assert abs(correlation) * np.sqrt(z.size) < bound + 1


def test_damaged_files_of_compiled_code_are_done_without(tmp_path: Path) -> None:
    """The first process compiles the code and keeps it. The second one meets files that a power cut has left."""
    program = (
        "import torch; from dfa_cli.devices.opu import compiled; compiled.load(True); "
        "print(compiled.normal_rows(compiled.draw_keys(1, torch.Generator()), 3).tolist())"
    )

    def run() -> subprocess.CompletedProcess[str]:
        command, environment = (
            [sys.executable, "-c", program],
            {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        )
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    first = run()
    kept = [*tmp_path.rglob("*.nbi"), *tmp_path.rglob("*.nbc")]
    assert kept
    for number, path in enumerate(kept):
        path.write_bytes(path.read_bytes()[:50] if number % 2 else b"")
    second = run()
    assert first.stdout == second.stdout
    assert not second.stderr


@pytest.mark.parametrize(
    "words",
    [(), ("device/medium=structured",), ("batch_size=1000",), ("device/readout=phase_shifting",)],
    ids=" ".join,
)
def test_nothing_is_compiled_while_training(words: tuple[str, ...]) -> None:
    """Rows may come in tiles, or from a medium that computes all blocks at once."""
    words = ("data=digits", "device=opu_sim", "model.hidden=[1024,1024]", "rule=dfa", *words)
    config = resolve_auto(compose_run(list(words)).config)
    experiment = build_experiment(config, load_data(config))
    statistical = [compiled_module.read_rows, compiled_module.draw_rows]
    imaging = [compiled_module.count_dim, compiled_module.gather_dim, compiled_module.image_rows]
    kernels = imaging if "device/readout=phase_shifting" in words else statistical
    before = [kernel.signatures for kernel in kernels]
    next(train(experiment, LoopSettings(1)))
    assert [kernel.signatures for kernel in kernels] == before
    assert all(len(signatures) == 1 for signatures in before)


@pytest.mark.parametrize(("width", "loaded"), [(64, False), (1024, True)])
def test_only_a_wide_projection_loads_numba_and_before_training(width: int, loaded: bool) -> None:
    program = (
        "import sys, torch; from dfa_cli.devices.opu import OPU; device = OPU(noise_seed=1, matrix_seed=1); "
        f"device.prepare(10, {width}, torch.device('cpu')); print('numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(loaded)
