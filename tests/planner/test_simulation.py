"""When the stages of a pipeline work: against closed formulas, and against a second implementation."""

from __future__ import annotations

import functools
import itertools
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from dfa_cli.planner.plan import Chain, Optical
from dfa_cli.planner.schedules import (
    Order,
    direct_feedback,
    gpipe,
    interleaved,
    one_forward_one_backward,
    zero_bubble,
    zero_bubble_h2,
    zero_bubble_v,
)
from dfa_cli.planner.simulation import Timing, simulate, simulate_steady

# The second implementation: the order of a stage as a list of (kind, chunk, micro-batch), written from the words of the
# papers, and the times by recursion over what an operation waits for.

F, B, W = "FBW"
Stage = list[tuple[str, int, int]]


def in_turn(warm: int, delay: int | None, micro_batches: int, kind: str = B) -> Stage:
    order: Stage = [(F, 0, m) for m in range(min(warm, micro_batches))]
    forward, late = len(order), []
    for m in range(micro_batches):
        order.append((kind, 0, m))
        if delay is not None:
            late.append(m)
            if len(late) > delay:
                order.append((W, 0, late.pop(0)))
        if forward < micro_batches:
            order.append((F, 0, forward))
            forward += 1
    return order + [(W, 0, m) for m in late]


def by_chunks(s: int, stages: int, micro_batches: int, chunks: int) -> Stage:
    groups = range(0, micro_batches, stages)
    forward = [(F, c, g + i) for g in groups for c in range(chunks) for i in range(stages)]
    backward = [(B, chunks - 1 - c, m) for _, c, m in forward]
    warm = min(2 * (stages - 1 - s) + (chunks - 1) * stages, len(forward))
    order, forward = forward[:warm], forward[warm:]
    while forward or backward:
        order += forward[:1] + backward[:1]
        forward, backward = forward[1:], backward[1:]
    return order


def in_a_v(s: int, stages: int, micro_batches: int) -> Stage:
    """ZB-V, greedily: what the paper says of the beginning, then one of each kind in turn, and W last.

    All is written for a batch that fills the pipeline. A smaller one leaves out what it does not have.
    """
    full = max(micro_batches, 2 * stages - 1)
    order: Stage = []
    seen: dict[tuple[str, int], int] = {}

    def do(*kinds: tuple[str, int]) -> None:
        for kind, chunk in kinds:
            m = seen.get((kind, chunk), 0)
            if m < full:
                order.append((kind, chunk, m))
                seen[kind, chunk] = m + 1

    for _ in range(2 * (stages - s) - 1):
        do((F, 0))
    for _ in range(s):
        do((F, 1), (F, 0))
    for _ in range(stages - s):
        do((F, 1), (B, 1), (W, 1))
    while seen[F, 1] < full:
        do((F, 0), (B, 0), (W, 0), (F, 1), (B, 1), (W, 1))
    for _ in range(s):
        do((B, 0), (B, 1))
    for _ in range(stages - s):
        do((B, 0), (W, 0))
    for chunk in (1, 0):
        while seen.get((W, chunk), 0) < full:
            do((W, chunk))
    return [one for one in order if one[2] < micro_batches]


def orders(stages: int, micro_batches: int) -> dict[str, tuple[Order, list[Stage]]]:
    S, M = stages, micro_batches
    found = {
        "gpipe": (gpipe(S, M), [in_turn(M, None, M) for _ in range(S)]),
        "1f1b": (one_forward_one_backward(S, M), [in_turn(S - s, None, M) for s in range(S)]),
        "zero-bubble": (zero_bubble(S, M), [in_turn(S - s, s, M) for s in range(S)]),
        "zb-h2": (zero_bubble_h2(S, M), [in_turn(2 * (S - s) - 1, 2 * s, M) for s in range(S)]),
        "zbv": (zero_bubble_v(S, M), [in_a_v(s, S, M) for s in range(S)]),
        "forward-first": (direct_feedback(np.full(S, M), M), [in_turn(M, None, M, W) for _ in range(S)]),
        "dfa": (direct_feedback(S - np.arange(S), M), [in_turn(S - s, None, M, W) for s in range(S)]),
    }
    if S > 1 and M % S == 0:
        for v in (2, 3):
            found[f"interleaved {v}"] = (interleaved(S, M, v), [by_chunks(s, S, M, v) for s in range(S)])
    return found


def recursive_ends(
    stages: list[Stage],
    timing: Timing,
    arrivals: list[float] | None,
    folded: bool = False,
    passed_on: float | None = None,
) -> list[dict]:
    """Return when each operation ends. `arrivals`: when the feedback of each micro-batch is there, in DFA.

    The feedback is computed by the caller, from an earlier result, until both agree. `passed_on`: it is there on the
    first stage. Every other stage but the last gets it from the stage before, by a message that takes so long.
    """
    S = len(stages)
    virtual = timing.durations.shape[1]
    rows = [{one: i for i, one in enumerate(order)} for order in stages]
    kinds = {F: 0, B: 1, W: 2}

    def place(s: int, chunk: int) -> int:
        """The number of a chunk on the way through the model."""
        return chunk * S + (S - 1 - s if folded and chunk else s)

    def owner(v: int) -> tuple[int, int]:
        """The stage of a chunk of the model, and which of its chunks it is."""
        chunk, s = divmod(v, S)
        return (S - 1 - s if folded and chunk else s), chunk

    def duration(s: int, one: tuple[str, int, int]) -> float:
        return float(timing.durations[kinds[one[0]], place(s, one[1])])

    def direction(s: int, one: tuple[str, int, int]) -> str | None:
        """Which way the message of an operation goes: `up` from the first stage to the last; `None`: it stays."""
        kind, v = one[0], place(s, one[1])
        if kind == W and passed_on is not None and s < S - 2:
            return "up"
        goal = v + 1 if kind == F else v - 1
        if kind == W or not 0 <= goal < virtual or owner(goal)[0] == s:
            return None
        return "up" if (kind == F) != (folded and one[1] == 1) else "down"

    @functools.cache
    def sent(s: int, one: tuple[str, int, int]) -> float:
        """When the message of an operation has left: after that of the one before it in the same direction."""
        way = direction(s, one)
        if way is None:
            return end(s, one)
        before = [o for o in stages[s][: rows[s][one]] if direction(s, o) == way]
        free = sent(s, before[-1]) if before else 0.0
        v = place(s, one[1])
        if one[0] == W:  # the error, which is passed on before the weight gradients are computed
            assert passed_on is not None
            return max(end(s, one) - duration(s, one), free) + passed_on
        return max(end(s, one), free) + float(timing.transfer[v if one[0] == F else v - 1])

    def arrived(v: int, kind: str, m: int) -> float:
        s, chunk = owner(v)
        late = timing.latency if direction(s, (kind, chunk, m)) else 0.0
        return sent(s, (kind, chunk, m)) + late

    @functools.cache
    def end(s: int, one: tuple[str, int, int]) -> float:
        kind, chunk, m = one
        row, v = rows[s][one], place(s, chunk)
        start = end(s, stages[s][row - 1]) if row else 0.0
        if kind == F and v > 0:
            start = max(start, arrived(v - 1, F, m))
        elif kind == B:
            start = max(start, arrived(v + 1, B, m) if v < virtual - 1 else end(s, (F, chunk, m)))
        elif kind == W and arrivals is not None:
            if s == S - 1:
                start = max(start, end(s, (F, 0, m)))
            else:
                start = max(start, arrivals[m] if passed_on is None or s == 0 else arrived(s - 1, W, m))
        return start + duration(s, one)

    sys.setrecursionlimit(20_000)
    return [{one: end(s, one) for one in order} for s, order in enumerate(stages)]


SMALL = [(S, M) for S in range(1, 6) for M in range(1, 9)]


def random_timing(virtual: int, seed: int) -> Timing:
    draws = np.random.default_rng(seed)
    return Timing(draws.uniform(0.2, 2.0, (3, virtual)), draws.uniform(0.0, 1.0, virtual), 0.05 * (seed % 3))


@pytest.mark.parametrize(("S", "M"), SMALL)
def test_every_schedule_agrees_with_a_second_implementation(S: int, M: int) -> None:
    for number, (name, (order, stages)) in enumerate(orders(S, M).items()):
        timing = random_timing(order.virtual, 100 * S + 10 * M + number)
        if name in ("dfa", "forward-first"):
            passed_on = None if number % 2 == M % 2 else 0.1 * (1 + M % 4)
            delivery = Instant() if passed_on is None else Chain(passed_on, timing.latency)
            run = simulate(order, timing, delivery)
            arrivals: list[float] = [0.0] * M
            for _ in range(
                M + 1
            ):  # the feedback depends on the forward passes of the last stage, one after another
                found = recursive_ends(stages, timing, arrivals, passed_on=passed_on)
                arrivals = in_turn_from_the_last([found[-1][F, 0, m] for m in range(M)], passed_on, timing)
        else:
            run = simulate(order, timing)
            found = recursive_ends(stages, timing, None, name == "zbv")
        assert run.starts is not None
        for s in range(S):
            kinds = order.codes[s] // (order.virtual * M)
            chunks = order.codes[s] // M % order.virtual // S
            assert {int(order.owners[v]) for v in order.codes[s] // M % order.virtual} == {s}
            listed = [("FBW"[k], c, m) for k, c, m in zip(kinds, chunks, order.codes[s] % M, strict=True)]
            assert listed == stages[s], f"{name}, stage {s}"
            ends = run.starts[s] + timing.durations.reshape(-1)[order.codes[s] // M]
            assert ends == pytest.approx([found[s][one] for one in listed]), f"{name}, stage {s}"


def in_turn_from_the_last(errors: list[float], passed_on: float | None, timing: Timing) -> list[float]:
    """Return when the errors reach the first stage, if the last one sends one after another; at once, if `None`."""
    if passed_on is None:
        return errors
    left = list(
        itertools.accumulate(errors, lambda before, error: max(before, error) + passed_on, initial=0.0)
    )
    return [one + timing.latency for one in left[1:]]


class Instant:
    """The feedback is there as soon as the error is."""

    passed_on = None

    def arrival(self, error: float) -> float:
        return error


@pytest.mark.parametrize(("S", "M"), SMALL)
def test_the_activations_in_flight_are_counted_rightly(S: int, M: int) -> None:
    for name, (order, stages) in orders(S, M).items():
        release = B if order.fused else W
        for s, stage in enumerate(stages):
            steps = [1 if kind == F else -1 if kind == release else 0 for kind, _, _ in stage]
            assert max(itertools.accumulate(steps)) == order.in_flight[s], name


# Closed formulas


def equal(order: Order, f: float = 1.0, b: float = 1.0, w: float = 1.0) -> Timing:
    """All stages take equally long, and messages no time."""
    parts = [f, b + w if order.fused else b, w]
    durations = np.array([[part / order.chunks] * order.virtual for part in parts])
    return Timing(durations, np.zeros(order.virtual))


LARGER = [(2, 3), (3, 7), (4, 8), (4, 12), (8, 16), (8, 64)]


@pytest.mark.parametrize(("S", "M"), LARGER)
def test_the_bubble_of_gpipe_and_1f1b_is_that_of_the_papers(S: int, M: int) -> None:
    """(S - 1) / (M + S - 1) of the step (Huang et al. 2019; Narayanan et al. 2021)."""
    for order in (gpipe(S, M), one_forward_one_backward(S, M)):
        seconds = simulate(order, equal(order, 1.0, 1.3, 0.9)).seconds
        assert 1 - M * 3.2 / seconds == pytest.approx((S - 1) / (M + S - 1))


@pytest.mark.parametrize("v", [2, 4])
@pytest.mark.parametrize(("S", "M"), [(2, 4), (4, 8), (4, 12), (8, 64)])
def test_the_bubble_of_the_interleaved_schedule_is_v_times_shorter(S: int, M: int, v: int) -> None:
    order = interleaved(S, M, v)
    assert simulate(order, equal(order)).seconds == pytest.approx(3 * M + 3 * (S - 1) / v)


@pytest.mark.parametrize(("S", "M"), [(2, 3), (4, 8), (4, 12), (8, 16), (8, 64)])
def test_the_zero_bubble_schedules_wait_as_the_paper_says(S: int, M: int) -> None:
    """(S - 1)(F + B - W) for ZB-H1, nothing for ZB-H2 and ZB-V at equal costs (Qi et al. 2023, tables 1 and 4)."""
    first, second = zero_bubble(S, M), zero_bubble_h2(S, M)
    assert simulate(first, equal(first)).seconds == pytest.approx(3 * M + S - 1)
    run = simulate(second, equal(second))
    assert run.seconds == pytest.approx(3 * M)
    assert run.between_barriers == pytest.approx(3 * M + S - 1)
    with_two_chunks = zero_bubble_v(S, M)
    assert simulate(with_two_chunks, equal(with_two_chunks)).seconds == pytest.approx(
        3 * M + 3 / 2 * max(0, 2 * S - 1 - M)
    )
    assert (with_two_chunks.in_flight <= 2 * S).all(), "of half a stage each"
    assert (first.in_flight <= S).all()
    assert (second.in_flight <= 2 * S - 1).all()


@pytest.mark.parametrize(("S", "M"), [(1, 2), (2, 4), (3, 6), (4, 4), (4, 12)])
def test_the_orders_are_those_that_torch_runs(S: int, M: int) -> None:
    """Torch lists for each process what it does: kind, chunk, micro-batch."""
    from torch.distributed.pipelining import schedules as torchs

    kinds = {
        torchs.FORWARD: 0,
        torchs.BACKWARD_INPUT: 1,
        torchs.FULL_BACKWARD: 1,
        torchs.BACKWARD_WEIGHT: 2,
    }
    for order, name in (
        (interleaved(S, M, 2), "ScheduleInterleaved1F1B"),
        (zero_bubble(S, M), "ScheduleInterleavedZeroBubble"),
        (zero_bubble_v(S, M), "ScheduleZBVZeroBubble"),
    ):
        settings = SimpleNamespace(
            pp_group_size=S,
            n_local_stages=order.chunks,
            num_stages=order.virtual,
            microbatches_per_round=S,
            _n_microbatches=M,
        )
        for s in range(S):
            listed = getattr(torchs, name)._calculate_single_rank_operations(settings, s)
            expected = [
                (kinds[one.computation_type] * order.virtual + one.stage_index) * M + one.microbatch_index
                for one in listed
                if one is not None and one.microbatch_index < M
            ]
            assert order.codes[s].tolist() == expected, name


@pytest.mark.parametrize(("S", "M"), LARGER)
def test_all_forward_passes_first_leave_no_bubble(S: int, M: int) -> None:
    """While the last stage is on the way to its first error, the first one has forward passes to do."""
    order = direct_feedback(np.full(S, M), M)
    assert simulate(order, equal(order, w=1.4), Instant()).seconds == pytest.approx(M * 2.4 + max(0, S - M))


@pytest.mark.parametrize(("S", "M"), LARGER)
def test_direct_feedback_waits_only_for_the_first_error(S: int, M: int) -> None:
    order = direct_feedback(S - np.arange(S), M)
    seconds = simulate(order, equal(order, f=1.0, w=1.4), Instant()).seconds
    assert seconds == pytest.approx(M * 2.4 + (S - 1) * 1.0)


@pytest.mark.parametrize("seed", range(10))
def test_gpipe_with_unequal_stages_is_two_flow_shops(seed: int) -> None:
    """All jobs are alike, so each phase takes one job through all machines, and the slowest for each other job."""
    draws = np.random.default_rng(seed)
    S, M = int(draws.integers(2, 7)), int(draws.integers(1, 20))
    timing = random_timing(S, seed)
    f, b, _ = timing.durations
    links = timing.transfer[:-1]
    way = links.sum() + (S - 1) * timing.latency
    forward = f.sum() + way + (M - 1) * max(*f, *links)
    backward = b.sum() + way + (M - 1) * max(*b, *links)
    assert simulate(gpipe(S, M), timing).between_barriers == pytest.approx(forward + backward)


# Properties


@pytest.mark.parametrize("seed", range(20))
def test_slower_operations_never_start_others_earlier_and_no_step_beats_the_busiest_stage(seed: int) -> None:
    draws = np.random.default_rng(seed)
    S = int(draws.integers(2, 7))
    M = S * int(draws.integers(1, 5))
    for order, _ in orders(S, M).values():
        timing = random_timing(order.virtual, seed)
        delivery = Instant() if not (order.codes // (order.virtual * M) == 1).any() else None
        run = simulate(order, timing, delivery)
        slower = Timing(
            timing.durations * draws.uniform(1, 2, timing.durations.shape),
            timing.transfer * draws.uniform(1, 2, timing.transfer.shape),
            timing.latency,
        )
        late = simulate(order, slower, delivery)
        assert late.starts is not None
        assert run.starts is not None
        assert (late.starts >= run.starts).all()
        assert (late.end >= run.end).all()
        busy = np.array([timing.durations.reshape(-1)[codes // M].sum() for codes in order.codes])
        assert run.seconds >= busy.max() * (1 - 1e-12)
        twice = Timing(2 * timing.durations, 2 * timing.transfer, 2 * timing.latency)
        assert simulate(order, twice, delivery).seconds == pytest.approx(2 * run.seconds)


@pytest.mark.parametrize("seed", range(6))
def test_a_recognised_steady_state_gives_what_enumeration_gives(seed: int) -> None:
    S, M = 4, 600
    skipped = 0
    for make, period in (
        (one_forward_one_backward, 1),
        (zero_bubble, 1),
        (zero_bubble_h2, 1),
        (lambda s, m: interleaved(s, m, 2), S),
        (zero_bubble_v, 1),
    ):
        order = make(S, M)
        timing = random_timing(order.virtual, seed)
        short = simulate_steady(lambda m, make=make: make(S, m), M, timing, period=period)
        assert short.seconds == pytest.approx(simulate(order, timing).seconds)
        skipped += short.starts is None
    assert skipped >= 3
    warm = S - np.arange(S)
    timing = random_timing(S, seed)

    def delivery() -> Optical:
        return Optical(0.01, 0.3, 0.02, 0.01, [])

    short = simulate_steady(lambda m: direct_feedback(warm, m), M, timing, delivery, own_error=False)
    long = simulate(direct_feedback(warm, M), timing, delivery(), own_error=False)
    assert short.seconds == pytest.approx(long.seconds)


# Who brings the feedback


@pytest.mark.parametrize(("S", "M"), LARGER)
def test_passing_the_error_on_costs_nothing_while_a_forward_pass_takes_longer(S: int, M: int) -> None:
    """A stage has done its forward passes one pass later than the stage before, from which the error comes."""
    order = direct_feedback(np.full(S, M), M)
    timing = equal(order, f=1.0, w=1.4)
    seconds = simulate(order, timing, Chain(0.9, 0.1)).seconds
    assert seconds == pytest.approx(simulate(order, timing, Chain(0.0, 1.0)).seconds)
    assert seconds == pytest.approx(M * 2.4 + max(0, S + 1 - M))


def test_slow_errors_hold_the_stages_up() -> None:
    S, M, slow = 4, 50, 7.0
    order = direct_feedback(np.full(S, M), M)
    run = simulate(order, equal(order), Chain(slow, 0.0))
    assert run.between_barriers == pytest.approx(M + slow * (M + S - 3) + 1)


def test_an_opu_shows_the_frames_of_one_micro_batch_after_another() -> None:
    exposures: list[tuple[float, float]] = []
    opu = Optical(transfer=1.0, exposing=5.0, sending=2.0, latency=0.5, exposures=exposures)
    assert opu.arrival(0.0) == 1.5 + 5 + 2 + 0.5
    assert opu.arrival(1.0) == 1.5 + 10 + 2 + 0.5
    assert exposures == [(1.5, 6.5), (6.5, 11.5)]


def test_a_slow_opu_sets_the_pace() -> None:
    S, M = 4, 50
    order = direct_feedback(np.full(S, 20), M)
    run = simulate(order, equal(order), Optical(0.0, 7.0, 0.0, 0.0, []), own_error=False)
    assert run.seconds == pytest.approx(S + 7.0 * M + 1)


# Cost


@pytest.mark.parametrize(("S", "M", "most"), [(64, 256, 2.0), (1024, 4096, 30.0)])
def test_a_large_pipeline_is_simulated_in_time(S: int, M: int, most: float) -> None:
    order = one_forward_one_backward(S, M)
    started = time.process_time()
    run = simulate_steady(lambda m: one_forward_one_backward(S, m), M, equal(order))
    assert time.process_time() - started < most / 6, "six schedules are planned together"
    assert run.seconds == pytest.approx(3 * (M + S - 1))


def test_a_batch_of_a_million_micro_batches_is_not_enumerated() -> None:
    M = 10**6
    started = time.process_time()
    order = zero_bubble(8, 100)
    run = simulate_steady(lambda m: zero_bubble(8, m), M, equal(order))
    assert run.seconds == pytest.approx(3 * M + 7)
    assert time.process_time() - started < 2


def test_torch_and_hydra_are_not_imported() -> None:
    names = ", ".join(f"dfa_cli.planner.{name}" for name in ("plan", "report", "files", "command"))
    program = f"import sys, {names}\n"
    program += "print(sorted({'torch', 'hydra', 'omegaconf', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
