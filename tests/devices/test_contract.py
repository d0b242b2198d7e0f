"""The contract of projection devices, tested on every file of `conf/device`.

With `--config-dir FOLDER` the devices of that folder are tested instead.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import program
import pytest
import torch
from torch import Tensor

from dfa_cli.config.compose import compose_run, conf_dir
from dfa_cli.config.instantiate import build
from dfa_cli.devices import Cost, Digital, ProjectionDevice
from dfa_cli.devices.base import Replayable
from dfa_cli.devices.opu import OPU
from dfa_cli.devices.parts import project_parts
from dfa_cli.training.weights import load_tensors, save_tensors

CPU = torch.device("cpu")
N_IN, N_OUT = 10, 512
SIGMAS = 4.2  # a correct device exceeds this many standard deviations for one seed in 30,000

OWN = program.config_dir
DEVICES = sorted(path.stem for path in (Path(OWN or conf_dir()) / "device").glob("*.yaml"))
STAGES = [
    f"device/{folder.name}={path.stem}"
    for folder in sorted((conf_dir() / "device").iterdir())
    if folder.is_dir()
    for path in sorted(folder.glob("*.yaml"))
]
# Each device with its defaults, each option of the OPU's stages, the perfect OPU, the other distribution.
VARIANTS = [
    *([f"device={name}"] for name in DEVICES),
    *(["device=opu_sim", stage] for stage in STAGES),
    ["device=opu_sim", "device.perfect=true"],
    ["device=opu_sim", "device.remove_sum=true"],
    ["device=cpu", "device.distribution=uniform"],
]
if OWN:
    VARIANTS = [[f"device={name}"] for name in DEVICES]
EXACT = ("device=auto", "device=cpu", "device=gpu", "device.perfect=true")
# The mean cosine of project(e) and e B that an option must reach. None: it does not estimate e B at all.
COSINE = {"device/encoding=sign": 0.4, "device/readout=intensity": None}


def made(words: list[str], **values: Any) -> ProjectionDevice:
    """Build the device as the command line does, with `values` in place of the values of some keys."""
    if words == ["device=gpu"] and not torch.cuda.is_available():
        pytest.skip("device=gpu needs CUDA, and this machine has none")
    node = node_of(" ".join(words))
    assert values.keys() <= node.keys()
    return build({**node, **values})


@functools.cache
def node_of(words: str) -> dict[str, Any]:
    job = compose_run([*(("--config-dir", OWN) if OWN else ()), "data=digits", *words.split()])
    return job.config["device"]


def prepared(words: list[str], **values: Any) -> ProjectionDevice:
    device = made(words, **values)
    device.prepare(N_IN, N_OUT, CPU)
    return device


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Use one thread: the products are too small to be divided among several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=VARIANTS, ids=" ".join)
def words(request: pytest.FixtureRequest) -> list[str]:
    return request.param


def exact(words: list[str]) -> bool:
    """Whether the device promises exactly `e B`; the others approximate it.

    A device of `--config-dir` is taken as exact when it shows no frames.
    """
    if OWN:
        device = prepared(words)
        device.project(errors(2))
        return device.cost().frames == 0
    return any(word in EXACT for word in words)


def errors(rows: int, seed: int = 0) -> Tensor:
    """Make errors as a rule gets them from a softmax of random logits: the rows sum to zero."""
    draws = torch.Generator().manual_seed(seed)
    e = torch.softmax(torch.randn(rows, N_IN, generator=draws) * 2, 1)
    e[torch.arange(rows), torch.randint(N_IN, (rows,), generator=draws)] -= 1
    return e / rows


@pytest.mark.parametrize("name", DEVICES)
def test_every_device_has_a_matrix_seed_that_follows_the_seed(name: str) -> None:
    assert node_of(f"device={name} seed=7")["matrix_seed"] == 7
    assert node_of(f"device={name} seed=7 device.matrix_seed=8")["matrix_seed"] == 8


def test_it_has_the_methods_of_a_projection_device(words: list[str]) -> None:
    device = prepared(words)
    assert isinstance(device, ProjectionDevice)
    assert device.cost().rows == 0


@pytest.mark.parametrize(("rows", "dtype"), [(1, torch.float32), (64, torch.float64)])
def test_shapes_dtypes_and_counts(words: list[str], rows: int, dtype: torch.dtype) -> None:
    device = prepared(words)
    e = errors(rows).to(dtype)
    before = e.clone()
    out = device.project(e)
    assert out.shape == (rows, N_OUT)
    assert out.dtype == dtype
    assert out.device == e.device
    assert out.isfinite().all()
    assert torch.equal(e, before), "the error has been overwritten"
    device.project(e)
    cost = device.cost()
    assert isinstance(cost, Cost)
    assert cost.rows == 2 * rows
    assert cost.coefficients == 2 * rows * N_IN * N_OUT
    assert cost.measured_seconds
    assert cost.frames >= 0
    assert (cost.modelled_seconds is None) == (cost.modelled_joules is None)
    assert (cost.frames > 0) == (cost.modelled_seconds is not None)
    device.prepare(N_IN, N_OUT, CPU)
    assert device.cost().rows == device.cost().frames == 0, "costs are totals since `prepare`"


def test_a_result_is_not_overwritten_by_the_next_projection(words: list[str]) -> None:
    device = prepared(words)
    first = device.project(errors(8))
    kept = first.clone()
    device.project(errors(8, seed=1))
    assert torch.equal(first, kept), "the next projection has overwritten the last one"


def test_rows_of_zeros_give_zeros_and_cost_no_frame(words: list[str]) -> None:
    device, e = prepared(words), errors(6)
    assert torch.equal(device.project(torch.zeros(5, N_IN)), torch.zeros(5, N_OUT))
    assert device.cost().frames == 0
    assert not device.cost().modelled_seconds
    alone = prepared(words)
    alone.project(e)
    among = torch.zeros(9, N_IN)
    among[[0, 2, 3, 5, 7, 8]] = e
    out = device.project(among)
    assert torch.equal(out[[1, 4, 6]], torch.zeros(3, N_OUT))
    assert (out[[0, 2, 3, 5, 7, 8]].abs().sum(1) > 0).all()
    if "Dithered" in str(node_of(" ".join(words)).get("encoding")):
        # Other mirrors are drawn, but each row shows one frame or two. The ones are measured in 16 readings of two.
        assert isinstance(device, OPU)
        ones = 32 if device.remove_sum else 0
        assert 6 <= device.cost().frames / device.readout.exposures - ones <= 12
    else:
        assert device.cost().frames == alone.cost().frames


@pytest.mark.parametrize("name", DEVICES)
def test_no_rows_give_no_rows(name: str) -> None:
    device = prepared([f"device={name}"])
    assert device.project(torch.zeros(0, N_IN)).shape == (0, N_OUT)
    assert device.cost().frames == 0


SPANS = [(0, 100), (100, 400), (400, N_OUT)]


def test_parts_are_read_of_one_projection(words: list[str]) -> None:
    e, whole, parts = errors(64), prepared(words), prepared(words)
    expected = whole.project(e)
    found = [part.clone() for part in project_parts(parts, e, SPANS)]
    assert [part.shape for part in found] == [(64, last - first) for first, last in SPANS]
    cost, once = parts.cost(), whole.cost()
    assert (cost.rows, cost.frames, cost.coefficients) == (once.rows, once.frames, once.coefficients)
    if exact(words):
        torch.testing.assert_close(torch.cat(found, 1), expected, rtol=1e-5, atol=1e-6)
    else:  # the noise is drawn for each part, so it is other noise
        assert torch.cosine_similarity(torch.cat(found, 1), expected, dim=1).mean() > 0.95


def test_a_part_is_the_same_whichever_others_are_read_and_in_which_order(words: list[str]) -> None:
    first, other = prepared(words), prepared(words)
    order = [SPANS[2], SPANS[0]]
    for seed in range(2):
        parts = [part.clone() for part in project_parts(first, errors(8, seed), SPANS)]
        again = [part.clone() for part in project_parts(other, errors(8, seed), order)]
        assert torch.equal(again[0], parts[2])
        assert torch.equal(again[1], parts[0])


def test_a_restored_device_gives_the_same_next_parts(words: list[str]) -> None:
    device, resumed = prepared(words), prepared(words)
    list(project_parts(device, errors(5), SPANS))
    state = {name: value.clone() for name, value in device.state_dict().items()}
    expected = [part.clone() for part in project_parts(device, errors(5, seed=1), SPANS)]
    list(project_parts(resumed, errors(5, seed=2), [*SPANS, (50, 60)]))
    resumed.load_state_dict(state)
    assert resumed.state_dict().keys() == state.keys()
    for part, wanted in zip(project_parts(resumed, errors(5, seed=1), SPANS), expected, strict=True):
        assert torch.equal(part, wanted)


def test_it_projects_by_its_matrix(words: list[str]) -> None:
    device, e = prepared(words), errors(64)
    b = device.matrix()
    assert b.shape == (N_IN, N_OUT)
    assert b.dtype == torch.float32
    out, expected = device.project(e), e @ b.to(CPU)
    if exact(words):
        torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-6)
        return
    (least,) = [COSINE[word] for word in words if word in COSINE] or [0.75]
    if least is not None:
        cosines = torch.cosine_similarity(out, expected, dim=1)
        assert cosines.mean() > least, "an approximation, and yet mostly the direction of e B"
        assert cosines.min() > least / 2
    # The norm must be that of digital hardware. Otherwise a learning rate tuned there would not hold here.
    ratio = out.norm() / expected.norm()
    assert 0.8 < ratio < 1.25


def test_it_is_linear_or_at_least_keeps_the_scale(words: list[str]) -> None:
    e, other = errors(16), errors(16, seed=1)
    if exact(words):
        device = prepared(words)
        combined = device.project(3 * e - 0.5 * other)
        torch.testing.assert_close(
            combined, 3 * device.project(e) - 0.5 * device.project(other), rtol=1e-4, atol=1e-5
        )
        return
    # With the same noise, scaling the error scales the projection, whatever the encoding does.
    for factor in (2.0**-20, 8.0):
        torch.testing.assert_close(
            prepared(words).project(factor * e),
            factor * prepared(words).project(e),
            rtol=1e-4,
            atol=1e-5 * factor,
        )


def test_entries_of_the_matrix_have_mean_zero_and_variance_one(words: list[str]) -> None:
    b = prepared(words).matrix().double()
    n = b.numel()
    assert abs(b.mean().item()) <= SIGMAS / math.sqrt(n)
    # The sum of squares of n normal numbers has the variance 2 n, that of uniform numbers 0.8 n.
    spread = math.sqrt((0.8 if "device.distribution=uniform" in words else 2.0) / n)
    assert abs(b.square().mean().item() - 1) <= SIGMAS * spread
    for part in (b.T, b):  # each column and each row; the level grows with their number
        level = SIGMAS + math.sqrt(2 * math.log(len(part)))
        assert (part.square().mean(1) - 1).abs().max() <= level * math.sqrt(2 / part.shape[1]) * 1.5
    # Rows are not correlated: the correlation of two has the standard deviation 1 / sqrt(n_out).
    rows = torch.corrcoef(b)
    rows.fill_diagonal_(0)
    assert rows.abs().max() <= 6 / math.sqrt(N_OUT)


def test_the_matrix_follows_its_seed_and_nothing_else(words: list[str]) -> None:
    before = torch.get_rng_state()
    first = prepared(words).matrix().clone()
    assert torch.equal(before, torch.get_rng_state()), "the global generator has been used"
    torch.rand(3)
    assert torch.equal(first, prepared(words).matrix())
    assert not torch.equal(first, prepared(words, matrix_seed=1).matrix())
    correlation = torch.corrcoef(
        torch.stack([first.flatten(), prepared(words, matrix_seed=1).matrix().flatten()])
    )
    assert abs(correlation[0, 1]) < SIGMAS / math.sqrt(first.numel())
    if "noise_seed" in node_of(" ".join(words)):
        assert torch.equal(first, prepared(words, noise_seed=5).matrix())
    device = prepared(words)
    device.project(errors(4))
    assert torch.equal(first, device.matrix()), "projecting has changed the matrix"


def test_equal_seeds_give_equal_projections(words: list[str]) -> None:
    e = errors(12)
    before = torch.get_rng_state()
    first, second = prepared(words), prepared(words)
    assert torch.equal(first.project(e), second.project(e))
    assert torch.equal(first.project(e), second.project(e))
    assert torch.equal(before, torch.get_rng_state()), "the global generator has been used"
    assert not torch.equal(first.project(e), prepared(words, matrix_seed=1).project(e))


def test_a_restored_device_gives_the_same_next_projections(words: list[str], tmp_path: Path) -> None:
    device = prepared(words)
    for i in range(3):
        device.project(errors(5, seed=i))
    state = device.state_dict()
    assert state
    assert all(isinstance(value, Tensor) for value in state.values())
    save_tensors(tmp_path / "state.safetensors", state)
    cost = device.cost()
    expected = [device.project(errors(5, seed=i)) for i in (7, 8)]

    resumed = made(words)
    resumed.prepare(N_IN, N_OUT, CPU)
    resumed.project(errors(2))
    resumed.load_state_dict(load_tensors(tmp_path / "state.safetensors"))
    again = resumed.cost()
    assert (again.rows, again.frames, again.coefficients) == (cost.rows, cost.frames, cost.coefficients)
    assert again.notes == cost.notes
    for i, out in zip((7, 8), expected, strict=True):
        assert torch.equal(resumed.project(errors(5, seed=i)), out)
    assert torch.equal(resumed.matrix(), device.matrix())


def test_a_restored_device_has_the_seconds_of_the_saved_one(words: list[str]) -> None:
    """Restoring sets the seconds to those of the saved state; later seconds of the device are forgotten."""
    device, resumed = prepared(words), prepared(words)
    device.project(errors(64))
    spent, state = device.cost().measured_seconds or 0.0, device.state_dict()
    assert spent > 0.0
    for into in (device, resumed):
        into.project(errors(64, seed=1))
        into.load_state_dict(state)
        assert into.cost().measured_seconds == pytest.approx(spent, rel=1e-6)
    device.project(errors(5))
    assert (device.cost().measured_seconds or 0.0) > spent


def test_a_replayable_device_is_restored_in_place(words: list[str]) -> None:
    """A recorded projection knows the addresses of tensors, and is registered with generators."""
    device = prepared(words)
    if not isinstance(device, Replayable):
        return
    device.project(errors(5))
    state = {name: value.clone() for name, value in device.state_dict().items()}
    counts, generators, matrix = device.counts, list(device.generators()), device.matrix()
    stored = device.matrix().data_ptr() == matrix.data_ptr()  # otherwise it is computed at each call
    if getattr(device, "drift", None):  # Each step has another matrix, and none is replayed.
        stored = False
    expected = device.project(errors(5))
    device.load_state_dict(state)
    assert device.counts is counts
    assert counts.rows == 5
    assert all(a is b for a, b in zip(device.generators(), generators, strict=True))
    assert not stored or device.matrix().data_ptr() == matrix.data_ptr()
    assert torch.equal(device.project(errors(5)), expected)


def test_a_replayed_projection_has_no_measured_time(words: list[str]) -> None:
    device = prepared(words)
    if not isinstance(device, Replayable):
        return
    device.project(errors(5))
    device.counts.seconds = math.nan  # as the recorder sets it
    assert device.cost().measured_seconds is None
    resumed = prepared(words)
    resumed.load_state_dict(device.state_dict())
    assert resumed.cost().measured_seconds is None


def test_a_restored_device_has_the_matrix_of_the_saved_one(words: list[str]) -> None:
    device, other = prepared(words), prepared(words, matrix_seed=9)
    other.load_state_dict(device.state_dict())
    assert torch.equal(other.matrix(), device.matrix())


def test_a_perfect_opu_equals_the_digital_device_on_the_real_part_of_its_matrix() -> None:
    opu, digital = prepared(["device=opu_sim", "device.perfect=true"]), Digital("cpu")
    digital.prepare(N_IN, N_OUT, CPU)
    digital.load_state_dict({**digital.state_dict(), "matrix": opu.matrix()})
    torch.testing.assert_close(opu.project(errors(64)), digital.project(errors(64)), rtol=1e-6, atol=1e-7)


def test_the_opu_counts_a_frame_for_each_sign() -> None:
    """A ternary row with both signs takes two frames, one with one sign takes one, a row of zeros none."""
    device = prepared(["device=opu_sim"])
    e = torch.zeros(3, N_IN)
    e[0, 0], e[0, 1] = 1.0, -1.0
    e[1, 2] = 1.0
    device.project(e)
    cost = device.cost()
    assert cost.frames == 3
    assert cost.modelled_seconds == pytest.approx(3 * 500e-6)
    assert cost.modelled_joules == pytest.approx(3 * 500e-6 * 30)
