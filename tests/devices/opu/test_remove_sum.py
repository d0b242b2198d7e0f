"""`device.remove_sum`: the sum that the encoding adds to a row is taken back with a measured projection of ones."""

import math
from typing import Any

import pytest
import torch
from program import Dfa

from dfa_cli.devices.opu import (
    OPU,
    Auto,
    Dithered,
    Float,
    Ideal,
    OffAxis,
    PhaseShifting,
    Procedural,
    Statistical,
    Structured,
    Ternary,
)
from dfa_cli.errors import DfaError

CPU = torch.device("cpu")
N_IN, N_OUT, EXPOSURES = 10, 400, 16


def made(n_in: int = N_IN, n_out: int = N_OUT, **arguments: Any) -> OPU:
    device = OPU(**{"encoding": Ternary(), "remove_sum": True, **arguments})
    device.prepare(n_in, n_out, CPU)
    return device


def errors(rows: int = 60, n: int = N_IN, seed: int = 0) -> torch.Tensor:
    draws = torch.Generator().manual_seed(seed)
    error = torch.softmax(2 * torch.randn(rows, n, generator=draws), 1)
    error[torch.arange(rows), torch.randint(0, n, (rows,), generator=draws)] -= 1
    return error


def ternary_without_sum(error: torch.Tensor) -> torch.Tensor:
    """Return the ternary form of rows whose sum is zero, minus its mean, with the norm of the row."""
    t = error.sign() * (error.abs() > 0.4 * error.abs().amax(1, keepdim=True))
    t -= t.mean(1, keepdim=True)
    return t * (error.norm(dim=1) / t.norm(dim=1))[:, None]


@pytest.mark.parametrize("medium", [Auto, Procedural, Structured])
@pytest.mark.parametrize("macropixel", [1, 3])
def test_without_noise_the_projection_is_that_of_rows_without_sum(medium: Any, macropixel: int) -> None:
    device = made(readout=Ideal(), medium=medium(), macropixel=macropixel)
    found, error = device.project(errors()), errors()
    torch.testing.assert_close(found, ternary_without_sum(error) @ device.matrix(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("readout", [Statistical, OffAxis, PhaseShifting])
def test_the_summed_feedback_of_many_rows_keeps_its_direction(readout: Any) -> None:
    """The rows share one right answer, so the ternary rows share one sum. It is in the feedback, or it is not."""
    draws = torch.Generator().manual_seed(3)
    error = torch.softmax(0.1 * torch.randn(500, N_IN, generator=draws), 1)
    error[torch.arange(500), torch.randint(0, N_IN, (500,), generator=draws)] -= 1
    exact = error.sum(0)
    cosines = []
    for remove in (False, True):
        device = made(readout=readout(), remove_sum=remove)
        expected = exact @ device.matrix()
        cosines.append(float(torch.cosine_similarity(device.project(error).sum(0), expected, dim=0)))
    assert cosines[0] < 0.5
    assert cosines[1] > 0.95


@pytest.mark.parametrize("readout", [Statistical, OffAxis])
def test_ones_are_measured_with_the_noise_of_the_mean_of_their_exposures(readout: Any) -> None:
    """Half of the mirrors are lit in each of two frames, which is the light of the calibration frame.

    The variance is that of the formula of `Statistical`, within the 99.9 % bounds of chi-squared.
    """
    from scipy.stats import chi2

    built = readout()
    device = made(n_out=2000, readout=built)
    device.project(errors(1))
    deviation = device.state_dict()["ones"] - device.matrix().sum(0)
    fringes = getattr(built, "wrapped", built).fringes
    fixed, by_intensity = device.camera.variance(fringes.exposure)
    signal = 2 * N_IN / 2  # the mean of |E|^2 in each of the two frames
    pixel = fixed + by_intensity * (signal + fringes.amplitude**2)
    of_one = 2 * pixel / (2 * fringes.samples * (fringes.visibility * fringes.amplitude) ** 2)
    ratio = float(deviation.square().mean()) / (of_one / EXPOSURES)
    # The noise of a mode depends on its |E|^2, so the bounds are those of half as many modes.
    assert chi2.ppf(0.0005, 1000) / 1000 < ratio < chi2.ppf(0.9995, 1000) / 1000


def test_the_ones_are_measured_once_and_their_frames_are_counted() -> None:
    for readout, exposures in ((Statistical(), 1), (PhaseShifting(4), 4)):
        device, plain = made(readout=readout), made(readout=readout, remove_sum=False)
        device.project(torch.zeros(3, N_IN))
        assert device.cost().frames == 0
        for _ in range(2):
            device.project(errors())
            plain.project(errors())
        assert device.cost().frames == plain.cost().frames + 2 * EXPOSURES * exposures
        assert device.cost().rows == plain.cost().rows + 3
        assert device.cost().warnings == []
    # Ten frames of a tenth of the mirrors have no more light than the calibration frame.
    dim = made(calibration=0.1)
    dim.project(errors(1))
    assert dim.cost().frames - made_frames(errors(1)) == 10 * EXPOSURES


def made_frames(error: torch.Tensor) -> int:
    device = made(remove_sum=False)
    device.project(error)
    return device.cost().frames


@pytest.mark.parametrize("encoding", [Ternary, Dithered])
def test_a_restored_device_keeps_the_ones(encoding: Any) -> None:
    through = made(encoding=encoding())
    through.project(errors())
    resumed = made(encoding=encoding(), noise_seed=5)
    resumed.project(errors(seed=1))
    resumed.load_state_dict(through.state_dict())
    frames = resumed.cost().frames
    assert torch.equal(through.project(errors()), resumed.project(errors()))
    assert resumed.cost().frames - frames <= 2 * 60, "the ones have been measured again"


@pytest.mark.parametrize("encoding", [Ternary, Dithered])
def test_a_state_of_an_earlier_version_can_be_loaded(encoding: Any) -> None:
    fresh, later = made(encoding=encoding()), made(encoding=encoding())
    later.project(errors())
    old = made(remove_sum=False)
    state = {
        name: value for name, value in old.state_dict().items() if name not in ("ones", "noise.encoding")
    }
    later.load_state_dict(state)
    assert torch.equal(later.project(errors()), fresh.project(errors()))


@pytest.mark.parametrize("word", ["device.perfect=true", "device/encoding=float"])
def test_what_shows_the_error_itself_has_no_sum_to_remove(word: str, dfa: Dfa) -> None:
    answer = dfa.train("data=digits", "device=opu_sim", word, "device.remove_sum=true")
    assert (answer.code, answer.out) == (2, "")
    assert (
        f"{word} shows the error itself, which adds no sum, so device.remove_sum=true has nothing"
        in answer.sentence
    )
    arguments: dict[str, Any] = {"perfect": True} if "perfect" in word else {"encoding": Float()}
    with pytest.raises(DfaError, match="nothing to remove"):
        OPU(**arguments, remove_sum=True)


@pytest.mark.parametrize("n_in", [1, 2, 3])
def test_few_components_are_projected_too(n_in: int) -> None:
    device = made(n_in=n_in, readout=Ideal())
    error = torch.randn(20, n_in, generator=torch.Generator().manual_seed(0))
    found = device.project(error)
    power = float(found.square().sum() / (N_OUT * error.square().sum()))
    assert abs(power - 1) < 5 * math.sqrt(2 / N_OUT)


def test_a_read_out_that_is_not_linear_is_refused_in_one_sentence(dfa: Dfa) -> None:
    words = [
        "data=digits",
        "device=opu_sim",
        "device/readout=intensity",
        "device.remove_sum=true",
        "epochs=1",
    ]
    answer = dfa("train", *dfa.arguments(*words))
    assert answer.code != 0
    assert (
        "device.remove_sum needs a read-out that is linear in the error, and the chosen one (such as intensity) is "
        "not. Choose another device/readout, or device.remove_sum=false." in answer.sentence
    )
    wrong = dfa("train", *dfa.arguments("data=digits", "device=opu_sim", "device.remove_sum=2"))
    assert "device.remove_sum is 2. It must be true or false." in wrong.sentence
