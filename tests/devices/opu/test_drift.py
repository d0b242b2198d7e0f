"""Drift: the law of the medium that changes, the phase of the reference beam, and what must not change either."""

import math
import re
from typing import Any

import pytest
import torch
from program import Dfa
from scipy import stats

from dfa_cli.devices.opu import (
    OPU,
    Auto,
    Dense,
    Drift,
    Float,
    Ideal,
    OffAxis,
    PhaseShifting,
    Procedural,
    Sign,
    Statistical,
    Structured,
    Ternary,
)
from dfa_cli.devices.opu.media.base import Medium
from dfa_cli.devices.opu.media.drifting import Drifting, weights
from dfa_cli.errors import DfaError

CPU = torch.device("cpu")
LEVEL = 0.999


def rate(tau: float) -> float:
    return -0.5 * math.log(1 - 1 / tau)


def made(n_in: int = 6, n_out: int = 80, **arguments: Any) -> OPU:
    device = OPU(**arguments)
    device.prepare(n_in, n_out, CPU)
    return device


def errors(rows: int = 12, n_in: int = 6, seed: int = 0) -> torch.Tensor:
    e = torch.randn(rows, n_in, generator=torch.Generator().manual_seed(seed))
    return e - e.mean(1, keepdim=True)


def matrices(medium: Medium, tau: float, steps: int, n_out: int = 2000) -> torch.Tensor:
    """Return the matrices of the first steps, `[steps, 6 n_out]`."""
    drifting = Drift(tau).apply_to(medium)
    assert isinstance(drifting, Drifting)
    drifting.prepare(6, n_out, 0, CPU)
    found = []
    for step in range(steps):
        drifting.move_to(step)
        found.append(drifting.feedback_matrix().flatten().clone())
    return torch.stack(found).double()


@pytest.mark.parametrize("tau", [1.5, 3, 30, 100, 1e5])
def test_the_weights_have_the_covariance_of_the_recursion(tau: float) -> None:
    """Between any two steps, near or far, whatever blocks and intervals they fall into."""
    steps = [0, 1, 2, 3, 15, 16, 17, 64, 100, 1000, 1023, 1024, 4097, 123_456]
    at = [weights(step, rate(tau)) for step in steps]
    for s, some in zip(steps, at, strict=True):
        for t, others in zip(steps, at, strict=True):
            found = sum(weight * others.get(n, 0.0) for n, weight in some.items())
            assert found == pytest.approx((1 - 1 / tau) ** (abs(t - s) / 2), abs=1e-6)
    assert max(map(len, at)) < math.log2(1 / rate(tau)) + 9


@pytest.mark.parametrize("medium", [Dense, Procedural, Structured])
def test_entries_forget_themselves_by_the_formula_and_keep_their_variance(medium: type[Medium]) -> None:
    """Mean square and autocorrelation of the entries, each within its 99.9 % bounds.

    Over `n` independent entries the mean of `T(s) T(t)` has the variance `(1 + rho^2) / n`.
    """
    tau, steps = 4.0, 26
    found = matrices(medium(), tau, steps)
    n = found.shape[1]
    pairs = [(s, t) for s in (0, 3, 9) for t in (s, s + 1, s + 2, s + 5, s + 16)]
    bound = float(stats.norm.ppf(1 - (1 - LEVEL) / 2 / len(pairs)))
    for s, t in pairs:
        rho = (1 - 1 / tau) ** ((t - s) / 2)
        estimate = float((found[s] * found[t]).mean())
        assert abs(estimate - rho) < bound * math.sqrt((1 + rho**2) / n), (s, t)
    if medium is not Structured:  # whose entries are Gaussian only for large sizes
        assert stats.kstest(found[20].numpy(), "norm").pvalue > 1 - LEVEL


def test_the_drift_is_the_recursion_with_fresh_media() -> None:
    """What a step adds is independent of all the matrices before it, and has the variance 1 / tau."""
    tau = 5.0
    found = matrices(Dense(), tau, 20)
    added = found[1:] - math.sqrt(1 - 1 / tau) * found[:-1]
    n = found.shape[1]
    bound = float(stats.norm.ppf(1 - (1 - LEVEL) / 2 / 400))
    for t in range(19):
        assert float(added[t].square().mean()) * tau == pytest.approx(1.0, abs=bound * math.sqrt(2 / n))
        for s in range(t + 1):
            assert abs(float((found[s] * added[t]).mean())) < bound * math.sqrt(1 / (tau * n))


def test_stored_and_computed_media_drift_alike() -> None:
    """Dense and procedural media have the same matrices at each step, and so has the choice of `auto`."""
    drifting = []
    for medium in (Dense(), Procedural(), Auto()):
        one = Drifting(medium, rate(10))
        one.prepare(50, 40, 3, CPU)
        one.move_to(37)
        drifting.append(one)
    patterns = torch.randint(-1, 2, (5, 50), generator=torch.Generator().manual_seed(0)).float()
    rows, columns = torch.tensor([0, 49]), torch.tensor([3, 17])
    for other in drifting[1:]:
        assert torch.allclose(drifting[0].feedback_matrix(), other.feedback_matrix(), atol=1e-6)
        assert torch.allclose(drifting[0].entries(rows, columns), other.entries(rows, columns), atol=1e-6)
        assert torch.allclose(drifting[0].fields(patterns, True), other.fields(patterns, True), atol=1e-4)


@pytest.mark.parametrize("medium", [Dense, Procedural, Structured])
def test_the_field_is_the_product_with_the_matrix_and_slices_are_equal(medium: type[Medium]) -> None:
    one = Drifting(medium(), rate(10))
    one.prepare(60, 45, 3, CPU)
    one.move_to(1001)
    x = torch.randint(-1, 2, (4, 60), generator=torch.Generator().manual_seed(0)).float()
    matrix = one.entries(torch.arange(60), torch.arange(45))
    field = one.fields(x, imaginary=True).clone()
    assert torch.allclose(field[:, 0], x @ matrix.real, atol=1e-4)
    assert torch.allclose(field[:, 1], x @ matrix.imag, atol=1e-4)
    assert torch.allclose(one.feedback_matrix(), matrix.real, atol=1e-5)
    spans = [(30, 45), (0, 7)]
    for part, (first, last) in zip(one.fields_at(x, True, spans), spans, strict=True):
        assert torch.allclose(part, field[:, :, first:last], atol=0.0 if medium is Procedural else 1e-4)


def test_a_matrix_does_not_depend_on_the_way_to_its_step() -> None:
    through, jumped = Drifting(Dense(), rate(7)), Drifting(Dense(), rate(7))
    for one in (through, jumped):
        one.prepare(6, 80, 3, CPU)
    before = jumped.feedback_matrix().clone()
    for step in range(200):
        through.move_to(step)
    jumped.move_to(199)
    assert torch.equal(through.feedback_matrix(), jumped.feedback_matrix())
    jumped.move_to(0)
    assert torch.equal(jumped.feedback_matrix(), before)


def test_the_first_matrix_is_the_one_without_drift() -> None:
    still, drifting = made(), made(drift=Drift(10.0))
    assert torch.equal(still.matrix(), drifting.matrix())
    assert torch.equal(still.project(errors()), drifting.project(errors()))
    assert torch.equal(still.matrix(), drifting.matrix())
    assert not torch.equal(still.project(errors()), drifting.project(errors()))
    assert not torch.equal(still.matrix(), drifting.matrix())


@pytest.mark.parametrize(
    "drift", [{"tau": 5.0}, {"tau": 1e-4, "unit": "hours"}, {"walk": 0.5, "jitter": 0.5}]
)
@pytest.mark.parametrize("readout", [Statistical, OffAxis])
def test_a_restored_device_drifts_on_bit_for_bit(drift: dict[str, Any], readout: Any) -> None:
    through, resumed = (made(drift=Drift(**drift), readout=readout()) for _ in range(2))
    for _ in range(40):
        through.project(errors())
    state = {name: value.clone() for name, value in through.state_dict().items()}
    matrix = through.matrix().clone()
    expected = [through.project(errors(seed=seed)) for seed in range(3)]
    resumed.load_state_dict(state)
    assert torch.equal(resumed.matrix(), matrix)
    for seed, wanted in enumerate(expected):
        assert torch.equal(resumed.project(errors(seed=seed)), wanted)
    assert torch.equal(resumed.matrix(), through.matrix())


def test_a_projection_is_one_step_and_one_without_rows_is_none() -> None:
    device, other = made(drift=Drift(3.0)), made(drift=Drift(3.0))
    for _ in range(3):
        device.project(errors())
        list(other.project_parts(errors(), [(0, 30), (30, 80)]))
        other.project(errors(0))
    assert torch.equal(device.matrix(), other.matrix())


def test_hours_are_those_of_the_modelled_time() -> None:
    """A tau of an hour has the correlation exp(-h / 2) after h modelled hours, and small steps change nothing."""
    frame_seconds, rows = 200.0, 9
    device = made(n_out=3000, drift=Drift(1.0, "hours"), frame_seconds=frame_seconds, encoding=Sign())
    found, hours = [], []
    for _ in range(6):
        hours.append((device.cost().modelled_seconds or 0.0) / 3600)
        device.project(errors(rows))
        found.append(device.matrix().double().flatten().clone())
    n = len(found[0])
    assert hours[-1] == pytest.approx(5 * 2 * rows * frame_seconds / 3600)
    for matrix, h in zip(found, hours, strict=True):
        rho = math.exp(-h / 2)
        bound = float(stats.norm.ppf(1 - (1 - LEVEL) / 2)) * math.sqrt((1 + rho**2) / n)
        assert abs(float((found[0] * matrix).mean()) - rho) < bound + 1 / 2048
    fast = made(drift=Drift(1.0, "hours"))  # half a millisecond per frame
    before = fast.matrix().clone()
    fast.project(errors())
    fast.project(errors())
    assert torch.equal(fast.matrix(), before)


def test_the_reference_beam_turns_the_field() -> None:
    """Without other noise the read-out gives Re(E exp(i phi)), and the matrix is Re(T exp(i phi))."""
    device = made(drift=Drift(walk=0.7), readout=Ideal(), encoding=Float())
    whole = device.medium.entries(torch.arange(6), torch.arange(80))
    for _ in range(4):
        out = device.project(errors())
    phase = float(device.state_dict()["drift"][2])
    expected = (whole * complex(math.cos(phase), math.sin(phase))).real
    assert phase != 0.0
    assert torch.allclose(device.matrix(), expected, atol=1e-6)
    assert torch.allclose(out, errors() @ expected, atol=1e-4)


@pytest.mark.parametrize("readout", [Ideal, Statistical, OffAxis, PhaseShifting])
def test_jitter_weakens_the_feedback_by_its_mean_phasor(readout: Any) -> None:
    """The slope of the values read against the true ones is E cos(phi) = exp(-jitter^2 / 2), within 99.9 % bounds."""
    jitter, rows, n_out = 1.0, 400, 40
    e = torch.zeros(rows, 6)
    e[:, 0] = 1.0  # one frame a row
    still, shaken = (
        made(n_out=n_out, readout=readout(), drift=drift) for drift in (None, Drift(jitter=jitter))
    )
    true = still.matrix()[0].double()
    found = shaken.project(e).double()
    slopes = found @ true / true.square().sum()  # one for each row, and so for each phase
    mean, deviation = math.exp(-(jitter**2) / 2), (1 - math.exp(-(jitter**2))) / math.sqrt(2)
    bound = float(stats.norm.ppf(1 - (1 - LEVEL) / 2)) * 1.3 * deviation / math.sqrt(rows)
    assert abs(float(slopes.mean()) - mean) < bound
    assert torch.equal(shaken.matrix(), still.matrix())  # jitter is of a frame, not of the matrix


def test_the_phase_walks_by_the_root_of_the_steps() -> None:
    walks = []
    for seed in range(300):
        drift = Drift(walk=0.2)
        drift.begin(Dense(), seed)
        for _ in range(26):
            drift.step(0.0)
        walks.append(float(drift.state()[2]))
    variance = sum(walk**2 for walk in walks) / (25 * 0.2**2)
    low, high = stats.chi2.ppf([(1 - LEVEL) / 2, 1 - (1 - LEVEL) / 2], len(walks))
    assert low < variance < high


def test_the_projection_of_ones_is_measured_again() -> None:
    """With a row of ones that is never measured again, the sum that is taken back is that of another medium."""
    frames = []
    for refresh in (1, 5, 1000):
        device = made(drift=Drift(4.0, refresh=refresh), encoding=Ternary(), readout=Ideal(), remove_sum=True)
        for _ in range(11):
            out = device.project(errors())
        frames.append(device.cost().frames)
        shown = device.encoding.encode(errors(), torch.Generator()).without_sum(errors())
        q = shown.scale * (shown.patterns[0] - shown.patterns[1])
        assert shown.excess is not None
        expected = (q - shown.excess) @ device.matrix()
        assert torch.allclose(out, expected, atol=1e-3) == (refresh < 1000), refresh
    measured = 2 * 16  # frames of a measurement
    assert [count - frames[2] for count in frames] == [10 * measured, 2 * measured, 0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["device.perfect=true"],
            "device.perfect=true turns every imperfection off, so nothing would drift.",
        ),
        (["device.drift.tau=null"], "Nothing drifts: device.drift.tau is null, and"),
        (
            ["device/readout=intensity", "device.drift.jitter=1"],
            "device/readout=intensity has no reference beam, so device.drift.walk and device.drift.jitter change",
        ),
    ],
)
def test_what_does_not_drift_is_refused(words: list[str], said: str, dfa: Dfa) -> None:
    answer = dfa.train("data=digits", "device=opu_sim", "device/drift=medium", *words)
    assert answer.code == 2
    assert not answer.out, "before the run begins"
    assert said in answer.sentence
    assert "none" in answer.sentence


def test_keys_of_a_drift_without_its_class_are_refused(dfa: Dfa) -> None:
    """As in the file of a device that keeps its `drift:` and chooses none."""
    (dfa.root / "device").mkdir()
    (dfa.root / "device" / "still.yaml").write_text("defaults: [opu_sim, _self_]\ndrift: {tau: 30}\n")
    answer = dfa.train("data=digits", "--config-dir", str(dfa.root), "device=still")
    assert answer.code == 2
    assert answer.sentence.startswith("error: device.drift has tau, but device/drift is none.")


def test_the_drift_is_told_where_the_run_begins_and_where_it_ends(dfa: Dfa) -> None:
    words = ["data=digits", "device=opu_sim", "epochs=1", "model.hidden=[16]"]
    both = ["device/drift=medium", "device.drift.tau=30", "device.drift.jitter=0.3"]
    answer = dfa.train(*words, *both)
    assert answer.out.startswith(
        "fc [16] on digits, trained by dfa on opu_sim, device/drift=medium, seed 0\n"
    )
    for text in (answer.out, dfa("show", "last", str(dfa.outputs)).out):
        assert re.search(r"\ndrift +medium, coherence time 30 steps, [\d.]+ s\n", text)
        assert re.search(r"\n +phase of the reference beam, jitter 0.3 rad\n", text), "there is no walk"
        # sqrt(1 - 1/30)^3 = 0.95: four batches, and three steps between them
        assert "correlation of the last matrix with the first 0.95, jitter aside\n" in text
    assert "\ndrift" not in dfa.train(*words).out


def test_training_and_show_tell_light_noise_and_long_times_alike(dfa: Dfa) -> None:
    words = ["data=digits", "device=opu_sim", "epochs=1", "model.hidden=[16]", "device.frame_seconds=0.1"]
    answer = dfa.train(*words, "device/drift=medium", "device.drift.tau=100", "device.drift.unit=hours")
    shown = dfa("show", "last", str(dfa.outputs)).out
    (run,) = dfa.runs()
    projection = run.record["projection"]

    light = re.search(r"\n +modelled optics (([\d.]+) min, ([\d.]+) kJ)\n", answer.out)
    assert light
    assert f"modelled {light[1]} (" in shown
    assert float(light[2]) == pytest.approx(projection["modelled_seconds"] / 60, rel=0.005)
    assert float(light[3]) == pytest.approx(projection["modelled_joules"] / 1000, rel=0.005)

    took = re.search(r"\ntime +([\d.]+ s in all, [\d.]+ s training)\n", answer.out)
    assert took
    assert f" {took[1]}" in shown

    ratio = f"SNR {projection['notes']['snr_db']:.1f} dB (calibration pattern), "
    times = re.search(r"coherence time (\d+,\d{3}) steps, 100 h\n", answer.out)
    assert times
    step = projection["modelled_seconds"] / projection["steps"]
    assert int(times[1].replace(",", "")) == pytest.approx(100 * 3600 / step, abs=1)
    for text in (answer.out, shown):
        assert ratio in text
        assert times[0] in text
        assert "correlation of the last matrix with the first 1.00\n" in text, "there is no jitter"


def test_a_rule_that_projects_nothing_says_that_it_uses_no_device(dfa: Dfa) -> None:
    words = ["data=digits", "rule=bp", "epochs=1", "model.hidden=[16]"]
    drifting = ["device=opu_sim", "device/drift=medium"]
    said = "note: rule=bp projects nothing, so it does not use device=opu_sim device/drift=medium."
    assert said in dfa.train(*words, *drifting).err
    assert "note" not in dfa.train(*words).err


def test_the_coherence_time_is_told_in_steps_and_in_seconds() -> None:
    """A step of ten rows with a frame for each sign takes 20 x 500 us."""
    error = torch.zeros(10, 6)
    error[:, 0], error[:, 1] = 1.0, -1.0
    for drift, steps, seconds in (
        (Drift(30.0), 30.0, 0.3),
        (Drift(1.0, "hours"), 360_000.0, 3600.0),
        (Drift(walk=0.1), None, None),
    ):
        device = made(drift=drift, encoding=Sign())
        assert "coherence_time_steps" not in device.cost().notes
        for _ in range(3):
            device.project(error)
        notes = device.cost().notes
        assert notes.get("coherence_time_steps") == (steps and pytest.approx(steps))
        assert notes.get("coherence_time_seconds") == (seconds and pytest.approx(seconds))


def test_a_tau_of_up_to_a_step_gives_a_new_medium_each_step_and_a_warning(dfa: Dfa) -> None:
    device = made(drift=Drift(0.5), encoding=Sign())
    error = torch.zeros(10, 6)
    error[:, 0], error[:, 1] = 1.0, -1.0
    matrices = []
    for _ in range(3):
        device.project(error)
        matrices.append(device.matrix().flatten())
    assert torch.corrcoef(torch.stack(matrices)).triu(1).abs().max() < 0.3
    said = "The medium forgets itself within a step: its coherence time is {} steps. Hidden blocks can hardly learn"
    drifting = ("data=digits", "device=opu_sim", "epochs=1", "model.hidden=[8]", "device/drift=medium")
    for words, steps in (
        (("device.drift.tau=0.5",), "0.5"),
        # A step of 32 samples shows at most two patterns each, of 0.5 ms: 0.03 s at most.
        (("device.drift.tau=1e-6", "device.drift.unit=hours"), "0."),
    ):
        answer = dfa.train(*drifting, *words)
        assert answer.code == 0, answer.err
        assert said.partition("{}")[0] + steps in " ".join(answer.out.split())
        assert "Hidden blocks can hardly learn, only the last block does." in " ".join(answer.out.split())


def test_a_tau_beyond_its_bounds_is_refused(dfa: Dfa) -> None:
    with pytest.raises(
        DfaError, match=r"^device\.drift\.tau is 1e-310 hours. It must be at least 1e-09 hours"
    ):
        Drift(1e-310, "hours")
    answer = dfa.train("data=digits", "device=opu_sim", "device/drift=medium", "device.drift.unit=days")
    assert "device.drift.unit is days. It must be one of steps, hours" in answer.sentence
