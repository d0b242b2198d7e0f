"""The whole OPU: its projections, scale, counts, state and limits."""

import math
from typing import Any

import pytest
import torch
from program import Dfa
from scipy import stats

from dfa_cli.devices import Cost, Digital, ProjectionDevice
from dfa_cli.devices.opu import (
    OPU,
    Bitplanes,
    Camera,
    Dense,
    Dithered,
    DitheredTwoScales,
    Float,
    FrameTime,
    Ideal,
    Intensity,
    Laser,
    Limits,
    OffAxis,
    PhaseShifting,
    Procedural,
    Sign,
    Statistical,
    Structured,
    Ternary,
    TwoScales,
)
from dfa_cli.devices.opu import device as module
from dfa_cli.errors import DfaError
from dfa_cli.seeding import generator

CPU = torch.device("cpu")
CHAINS: dict[str, dict[str, Any]] = {
    "default": {},
    "off_axis": {"readout": OffAxis()},
    "phase_shifting": {"readout": PhaseShifting()},
    "ideal": {"readout": Ideal()},
    "sign": {"encoding": Sign()},
    "bitplanes": {"encoding": Bitplanes(4)},
    "float": {"encoding": Float()},
    "two_scales": {"encoding": TwoScales()},
    "dithered": {"encoding": Dithered()},
    "dithered_two_scales": {"encoding": DitheredTwoScales()},
    "dense": {"medium": Dense()},
    "procedural": {"medium": Procedural()},
    "structured": {"medium": Structured()},
    "macropixel": {"macropixel": 5, "camera": Camera(photons=2500.0)},
    "perfect": {"perfect": True},
}


def made(n_in: int = 10, n_out: int = 400, **arguments) -> OPU:
    device = OPU(**{"encoding": Ternary(), **arguments})
    device.prepare(n_in, n_out, CPU)
    return device


def errors(rows: int = 60, n: int = 10, seed: int = 0) -> torch.Tensor:
    draws = torch.Generator().manual_seed(seed)
    error = torch.softmax(2 * torch.randn(rows, n, generator=draws), 1)
    error[torch.arange(rows), torch.randint(0, n, (rows,), generator=draws)] -= 1
    return error / rows


@pytest.mark.parametrize("chain", CHAINS)
def test_every_chain_projects_the_encoded_error(chain: str) -> None:
    """The projection and the exact projection of what the mirrors show have a mean cosine above 0.995."""
    device = made(**CHAINS[chain])
    assert isinstance(device, ProjectionDevice)
    error = errors()
    found = device.project(error)
    # A dithered encoding shows what it draws from the device's stream.
    frames = device.encoding.encode(error, generator(device.noise_seed, "noise encoding"))
    shown = frames.scale * sum(w * x for w, x in zip(frames.weights, frames.patterns, strict=True))
    assert found.shape == (60, 400)
    assert float(torch.cosine_similarity(found, shown @ device.matrix(), dim=1).min()) > 0.98
    assert float(torch.cosine_similarity(found, shown @ device.matrix(), dim=1).mean()) > 0.995


@pytest.mark.parametrize("chain", [*(chain for chain in CHAINS if "dithered" not in chain), "intensity"])
def test_the_scale_of_the_error_is_kept(chain: str) -> None:
    """`E |project(e)|^2 = n_out |e|^2` over 20 media, within 5 standard errors."""
    arguments: dict[str, Any] = {"readout": Intensity()} if chain == "intensity" else CHAINS[chain]
    error = errors()
    ratios = []
    for seed in range(20):
        device = made(matrix_seed=seed, noise_seed=seed, **arguments)
        ratios.append(float(device.project(error).square().sum() / (400 * error.square().sum())))
    found = torch.tensor(ratios)
    noise = 0.003  # the camera adds this to the power
    assert abs(float(found.mean()) - 1) < 5 * float(found.std()) / math.sqrt(20) + noise


@pytest.mark.parametrize("encoding", [Dithered(), DitheredTwoScales()])
def test_dithering_adds_the_variances_of_the_components_to_the_power(encoding: Any) -> None:
    """`E |project(e)|^2 = n_out sum_j m_j |e_j|` over 20 media, within 5 standard errors."""
    error = errors()
    parts = torch.stack([error.clamp(min=0), -error.clamp(max=0)])
    sums, largest = parts.sum(2), parts.amax(2)
    if isinstance(encoding, Dithered):
        largest = largest.amax(0)
    expected = 400 * float((sums * largest).sum())
    found = torch.tensor(
        [
            float(made(matrix_seed=seed, noise_seed=seed, encoding=encoding).project(error).square().sum())
            for seed in range(20)
        ]
    )
    noise = 0.003 * expected  # the camera adds this to the power
    assert abs(float(found.mean()) - expected) < 5 * float(found.std()) / math.sqrt(20) + noise


def test_a_perfect_opu_is_the_digital_device_on_the_real_part_of_its_matrix() -> None:
    device = made(perfect=True, readout=Intensity(), encoding=Sign())
    digital = Digital("cpu")
    digital.prepare(10, 400, CPU)
    digital.load_state_dict({"matrix": device.matrix(), "rows": torch.tensor(0)})
    assert torch.allclose(device.project(errors()), digital.project(errors()), atol=1e-7)


def test_feedback_has_unit_variance_and_follows_the_matrix_seed_alone() -> None:
    matrix = made(200, 500).matrix()
    assert float(matrix.var()) == pytest.approx(1.0, abs=5 * math.sqrt(2 / matrix.numel()))
    assert torch.equal(matrix, made(200, 500, noise_seed=9).matrix())
    assert not torch.equal(matrix, made(200, 500, matrix_seed=9).matrix())


def test_noise_follows_its_seed_and_is_drawn_anew_each_time() -> None:
    error = errors()
    first, again, other = made(), made(), made(noise_seed=1)
    found = first.project(error)
    assert torch.equal(found, again.project(error))
    assert not torch.equal(found, other.project(error))
    assert not torch.equal(found, first.project(error))


@pytest.mark.parametrize("readout", [Statistical, OffAxis])
def test_a_restored_device_continues_like_an_uninterrupted_one(readout) -> None:
    error = errors()
    through, before = made(readout=readout()), made(readout=readout())
    through.project(error)
    before.project(error)
    resumed = made(readout=readout(), matrix_seed=77, noise_seed=78)
    resumed.load_state_dict(before.state_dict())
    assert all(isinstance(value, torch.Tensor) for value in before.state_dict().values())
    assert torch.equal(through.project(error), resumed.project(error))
    assert torch.equal(through.matrix(), resumed.matrix())
    assert through.cost().frames == resumed.cost().frames


@pytest.mark.parametrize("chain", ["default", "off_axis", "local", "procedural"])
def test_the_number_of_threads_changes_no_bit(chain: str) -> None:
    """The size is one at which torch divides the work among threads."""
    error, threads = errors(256), torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            chosen = {**CHAINS, "local": {"readout": OffAxis(demodulation="local")}}[chain]
            found.append(made(10, 3001, **chosen).project(error))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize("medium", [Dense(), Procedural(), Structured()])
@pytest.mark.parametrize(
    "limit", [("MODES_AT_ONCE", 400 * 7), ("MIN_MODES", 16), ("MIRRORS_AT_ONCE", 10 * 7)]
)
def test_a_large_projection_in_tiles_equals_the_whole(
    monkeypatch: pytest.MonkeyPatch, medium: Any, limit: tuple[str, int]
) -> None:
    error = errors(50)
    whole = made(readout=Ideal(), medium=medium).project(error)
    monkeypatch.setattr(module, "MODES_AT_ONCE", 400 * 7)
    monkeypatch.setattr(module, *limit)
    device = made(readout=Ideal(), medium=medium)
    assert len(error) * 400 > module.MODES_AT_ONCE
    assert torch.allclose(device.project(error), whole, atol=1e-6)
    assert device.cost().rows == 50


def test_tiles_do_not_change_the_saturated_fraction(monkeypatch: pytest.MonkeyPatch) -> None:
    error, camera = errors(50), Camera(exposure=3.0)  # bright, so that many are full
    whole = made(readout=OffAxis(), camera=camera)
    whole.project(error)
    monkeypatch.setattr(module, "MODES_AT_ONCE", 50 * 70)
    monkeypatch.setattr(module, "MIN_MODES", 70)
    parts = made(readout=OffAxis(), camera=camera)
    parts.project(error)
    expected = whole.cost().notes["saturated_fraction"]
    assert 0.01 < expected < 1
    # Noise and rows of the camera differ. Some 2,200 pixels are full, so 15 per cent are 5 standard errors and more.
    assert parts.cost().notes["saturated_fraction"] == pytest.approx(expected, rel=0.15)


def test_frames_seconds_and_joules_are_counted() -> None:
    error = torch.zeros(4, 10)
    error[0, 0], error[0, 1] = 1.0, -1.0  # two frames
    error[1, 2] = 1.0  # one: nothing is negative
    error[2, 3], error[2, 4], error[2, 5] = 1.0, 0.5, -0.6  # two; the last row has none
    for readout, exposures in (
        (Statistical(), 1),
        (OffAxis(), 1),
        (PhaseShifting(4), 4),
        (PhaseShifting(5), 5),
    ):
        device = made(readout=readout)
        found = device.project(error)
        cost = device.cost()
        assert isinstance(cost, Cost)
        assert (cost.rows, cost.frames, cost.coefficients) == (4, 5 * exposures, 4 * 10 * 400)
        assert cost.modelled_seconds == pytest.approx(5 * exposures * 500e-6)
        assert cost.modelled_joules == pytest.approx(5 * exposures * 500e-6 * 30)
        assert cost.measured_seconds
        assert not found[3].any()
        device.prepare(10, 400, CPU)
        assert device.cost().frames == 0
    perfect = made(readout=PhaseShifting(5), perfect=True)
    perfect.project(error)
    assert perfect.cost().frames == 3 * 5  # one pattern of each row, but of the one without an error
    planes = made(encoding=Bitplanes(3))
    planes.project(errors(20))
    assert 20 * 2 < planes.cost().frames <= 20 * 6


def test_saturation_is_recorded_and_warned_about_by_the_epoch() -> None:
    error, fixed = errors(), "lower device.camera.exposure, or raise device.camera.full_well."
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"readout": Statistical(), "camera": Camera(exposure=4.0)}, fixed),
        ({"readout": OffAxis(), "camera": Camera(exposure=4.0)}, fixed),
        ({"readout": OffAxis(headroom=0.3)}, "raise device.readout.headroom, or device.calibration"),
        ({"readout": Statistical(OffAxis(headroom=0.3))}, "raise device.readout.wrapped.headroom,"),
    )
    for arguments, advice in cases:
        device = made(**arguments)
        device.project(error)
        cost = device.cost()
        assert 0.05 < cost.notes["saturated_fraction"] < 0.5
        (warning,) = cost.warnings
        assert warning.startswith(
            f"More than one in a hundred of the camera's pixels were saturated in a whole epoch: {advice}"
        )
        assert not device.cost().warnings  # nothing was projected since
    device = made()
    device.project(error)
    assert device.cost().notes["saturated_fraction"] < 0.001
    assert not device.cost().warnings


def test_sizes_beyond_the_hardware_are_refused_with_the_key_that_allows_them() -> None:
    with pytest.raises(DfaError, match=r"1039681 mirrors.*limits.mirrors=1039680.*device.limits.lift=true"):
        made(1_039_681, 1)
    with pytest.raises(DfaError, match=r"110000 x 10 = 1100000 mirrors .* smaller device\.macropixel"):
        made(110_000, 1, macropixel=10)
    with pytest.raises(
        DfaError, match=r"2073604 pixels.*limits.pixels=2073600.*phase_shifting.*limits.lift=true"
    ):
        made(1, 518_401)  # 4 pixels a mode
    made(1, 518_401, readout=PhaseShifting())
    assert made(1, 518_401, limits=Limits(lift=True)).project(torch.ones(1, 1)).shape == (1, 518_401)


def test_a_perfect_opu_has_the_limits_of_its_read_out() -> None:
    with pytest.raises(DfaError, match=r"The projection needs 100 x 4 = 400 pixels"):
        made(10, 100, readout=OffAxis(), perfect=True, limits=Limits(pixels=399))
    made(10, 100, readout=PhaseShifting(), perfect=True, limits=Limits(pixels=399))


def test_the_result_has_the_dtype_of_the_error_and_no_gradient() -> None:
    error = errors().double().requires_grad_()
    found = made().project(error)
    assert found.dtype == torch.float64
    assert not found.requires_grad


def test_results_are_not_overwritten_by_the_next_call() -> None:
    for arguments in CHAINS.values():
        device = made(**arguments)
        first = device.project(errors())
        copy = first.clone()
        device.project(errors(seed=1))
        assert torch.equal(first, copy)


def test_a_macropixel_sums_the_light_of_its_mirrors() -> None:
    device = made(macropixel=4, medium=Dense(), readout=Ideal(), encoding=Ternary())
    mirrors = device.medium.feedback_matrix().view(10, 4, 400)
    assert torch.allclose(device.matrix(), mirrors.sum(1) / 2, atol=1e-6)


def test_mirrors_that_sum_up_have_the_law_of_one_row_of_the_medium() -> None:
    """`auto` keeps one row of the medium for each component. Mirror by mirror gives entries of the same law."""
    auto, explicit = made(40, 2000), made(40, 2000, macropixel=25)
    assert torch.equal(auto.matrix(), made(40, 2000, macropixel=1).matrix())
    assert not torch.equal(auto.matrix(), explicit.matrix())
    for entries in (auto.matrix().flatten(), explicit.matrix().flatten()):
        assert stats.kstest(entries.numpy(), "norm").pvalue > 1e-3
    correlations = torch.corrcoef(explicit.matrix())[~torch.eye(40, dtype=torch.bool)]
    assert float(correlations.std()) == pytest.approx(2000**-0.5, rel=0.1)


@pytest.mark.parametrize("readout", [OffAxis(), PhaseShifting(), Intensity()])
def test_photoelectrons_follow_from_the_laser_and_the_mirrors_of_a_component(readout: Any) -> None:
    """Those of the field do; the reference beam comes on top of them."""

    def of_the_field(n_in: int, pixels: int = 50_000, **arguments: Any) -> float:
        """Return the mean photoelectrons of a pixel in the calibration frame."""
        made(n_in, 50, readout=readout, limits=Limits(mirrors=1000, pixels=pixels), **arguments)
        exposure = readout.exposure if isinstance(readout, Intensity) else readout.fringes.exposure
        return exposure.gain * 2 * max(1.0, n_in / 2)

    laser = Laser(watts=1e-5, efficiency=1e-3)
    # Power over the energy of a photon of 532 nm, 3.734e-19 J; exposure; efficiency; pixels.
    all_on = 1e-5 / 3.734e-19 * 400e-6 * 1e-3 / 50_000
    for n_in, macropixel, lit in ((100, "auto", 500), (300, "auto", 450), (100, 1, 50), (1, 20, 20)):
        found = of_the_field(n_in, laser=laser, macropixel=macropixel)
        assert found == pytest.approx(all_on * lit / 1000, rel=1e-3)
    wide = of_the_field(100, pixels=500_000, laser=laser)  # more pixels share the same light
    assert wide == pytest.approx(all_on / 20, rel=1e-3)
    given = of_the_field(100, laser=laser, camera=Camera(photons=10.0), macropixel=1)
    reference = 0.0 if isinstance(readout, Intensity) else readout.fringes.reference
    assert given * (1 + reference) == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("pixels", "exposure", "seconds"),
    [
        (1, 400e-6, 500e-6),
        (2040 * 166, 400e-6, 500e-6),  # 50 + 448 us: the mirrors are slower
        (2040 * 167 + 1, 400e-6, 50e-6 + 168 * 2.7e-6),
        (10**6, 400e-6, 50e-6 + 491 * 2.7e-6),
        (1, 1e-3, 1.05e-3),
    ],
)
def test_a_frame_takes_the_time_of_the_mirrors_or_of_the_camera(
    pixels: int, exposure: float, seconds: float
) -> None:
    assert FrameTime().seconds(pixels, exposure) == pytest.approx(seconds)
    device = made(
        1,
        pixels,
        readout=PhaseShifting(),
        laser=Laser(exposure_seconds=exposure),
        camera=Camera(exposure=1.0),
        frame_time=FrameTime(),
        medium=Structured(),
    )
    device.project(torch.ones(1, 1))
    assert device.cost().modelled_seconds == pytest.approx(4 * seconds)


def test_the_light_of_several_exposures_takes_their_time() -> None:
    for exposure, seconds in (("auto", 500e-6), (1.0, 500e-6), (10.0, 50e-6 + 10 * 400e-6)):
        assert made(10, 20, camera=Camera(exposure=exposure)).seconds_per_frame == pytest.approx(seconds)


def test_a_fixed_frame_time_takes_the_place_of_the_formula() -> None:
    device = made(10, 500_000, frame_seconds=1e-3)
    device.project(errors(1))
    assert device.cost().modelled_seconds == pytest.approx(2e-3)


def test_a_frame_is_not_shorter_than_its_exposure(dfa: Dfa) -> None:
    words = ["data=digits", "device=opu_sim", "device.frame_seconds=1e-4", "device.camera.exposure=1.0"]
    answer = dfa.train(*words)
    assert answer.code == 2
    assert answer.sentence.startswith(
        "error: device.frame_seconds is 0.0001. A frame must not be shorter than the exposure of the camera, 0.0004"
    )
    assert not answer.out, "before the run begins"
    with pytest.raises(DfaError, match=r"camera, 0\.004 seconds: .* or device\.camera\.exposure\."):
        made(10, 20, frame_seconds=1e-3, camera=Camera(exposure=10.0))
    with pytest.raises(DfaError, match=r"smaller device\.laser\.exposure_seconds\.$"):
        made(10, 20, frame_seconds=1e-5)
    made(10, 20, frame_seconds=1e-4, laser=Laser(exposure_seconds=1e-4))
    made(10, 20, frame_seconds=1e-5, readout=Ideal())  # which has no camera


def test_a_frame_with_much_light_takes_as_long_as_its_automatic_exposure() -> None:
    """Twenty times the light fills the pixels in a twentieth of the time."""
    times = FrameTime(shortest=1e-6)
    bright = [
        made(10, 20, laser=Laser(watts=watts, exposure_seconds=0.1), frame_time=times).seconds_per_frame
        for watts in (1e-3, 20e-3)
    ]
    pause = times.pause
    assert bright[1] - pause == pytest.approx((bright[0] - pause) / 20)
    assert bright[0] < 0.1
    fixed = made(
        10, 20, laser=Laser(exposure_seconds=0.1), frame_time=times, camera=Camera(exposure=0.5)
    ).seconds_per_frame
    assert fixed == pytest.approx(pause + 0.05)


@pytest.mark.parametrize("exposure", ["auto", 0.2])
def test_a_frame_without_noise_takes_as_long_as_with_it(exposure: Any) -> None:
    """The well of 10,000 is full at (2 + 3)^2 times the light of the calibration pattern, whoever reads it."""

    class Mine(Ideal):
        def calibrate(self, lit: float, camera: Camera) -> None:
            self.deviation = lit**0.5

    def seconds(**arguments: Any) -> float:
        camera = Camera(exposure=exposure, **arguments.pop("noise", {}))
        laser, times = Laser(exposure_seconds=5e-3), FrameTime(shortest=1e-6)
        return made(10, 20, camera=camera, laser=laser, frame_time=times, **arguments).seconds_per_frame

    of_all_mirrors = Laser(exposure_seconds=5e-3).photoelectrons(Limits().pixels)
    share = 10_000 / (25 * of_all_mirrors / 2) if exposure == "auto" else exposure
    expected = pytest.approx(50e-6 + share * 5e-3)
    assert seconds() == expected
    assert seconds(readout=PhaseShifting()) == expected
    assert seconds(readout=Ideal()) == expected
    assert seconds(readout=Mine()) == expected
    assert seconds(perfect=True) == expected
    assert seconds(noise={"shot_noise": False, "read_noise": 0.0, "bits": None}) == expected
    if exposure == "auto":  # without a well that can be full, nothing ends the exposure early
        assert seconds(noise={"full_well": None, "bits": None}) == pytest.approx(50e-6 + 5e-3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "SNR 28.5 dB (calibration pattern)"),
        (
            ["device/readout=intensity"],
            "SNR not known by formula for device/readout=intensity; dfa beam measures it",
        ),
        (["device/readout=ideal"], None),
        (["device/readout=intensity", "device.perfect=true"], None),
    ],
    ids=str,
)
def test_show_says_how_good_the_light_was_or_why_it_does_not(
    words: list[str], said: str | None, dfa: Dfa
) -> None:
    run = dfa.run("data=digits", "device=opu_sim", "epochs=1", "model.hidden=[16]", *words)
    shown = " ".join(dfa("show", str(run.folder)).out.split())
    assert said in shown if said else "SNR" not in shown


def test_arguments_out_of_bounds_are_refused() -> None:
    mistakes: list[tuple[dict[str, Any], str]] = [
        (
            {"calibration": 0},
            r"^device\.calibration is 0. It must be a number above 0 and up to 1\.$",
        ),
        ({"calibration": 1.5}, "calibration is 1.5"),
        ({"macropixel": 0}, "macropixel is 0. It must be auto, or a whole number of at least 1"),
        ({"frame_seconds": 0}, "frame_seconds is 0. It must be auto, or a number greater than 0"),
    ]
    for arguments, words in mistakes:
        with pytest.raises(DfaError, match=words):
            OPU(**arguments)
