"""Plans a step of one model on one kind of hardware, for every schedule of backpropagation and for DFA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from dfa_cli.devices.optics import PIXELS, PIXELS_PER_MODE, FrameTime
from dfa_cli.errors import DfaError
from dfa_cli.planner.costs import Hardware, StageCosts, Workload, require_blocks, stage_costs
from dfa_cli.planner.schedules import (
    FORWARD,
    Order,
    direct_feedback,
    gpipe,
    interleaved,
    one_forward_one_backward,
    zero_bubble,
    zero_bubble_h2,
    zero_bubble_v,
)
from dfa_cli.planner.simulation import Delivery, Simulated, Timing, simulate_steady

# The names are those of `parallel.schedule`. zb-h2 is only planned: torch does not have it.
SCHEDULES: dict[str, Callable[..., Order]] = {
    "gpipe": gpipe,
    "1f1b": one_forward_one_backward,
    "interleaved": interleaved,
    "zero-bubble": zero_bubble,
    "zb-h2": zero_bubble_h2,
    "zbv": zero_bubble_v,
}
LARGEST_COUNT = 10**12
MOST_PARTS = 2**23  # micro-batches times stages: twice 1,024 stages with 4,096 micro-batches each
SLOWEST, FASTEST = 1e-9, 1e18  # patterns a second
MODELLED, GIVEN, FAST_ENOUGH = "as modelled", "as given", "fast enough"  # which rate an OPU has
FORWARD_FIRST = "forward-first"  # the order in which `dfa train` runs direct feedback alignment


@dataclass(frozen=True)
class Optics:
    """An optical processing unit. `seconds`: the time of a pattern, with all its frames, for an error of so many
    components and a number of columns that a camera with `pixels` can read. The default reads by off-axis holography.
    """

    name: str = "The modelled hardware"
    pixels: int = PIXELS
    pixels_per_mode: int = PIXELS_PER_MODE
    seconds: Callable[[int, int], float] = lambda components, columns: FrameTime().seconds(
        columns * PIXELS_PER_MODE
    )

    @property
    def modes(self) -> int:
        """The number of columns that its camera can read."""
        return self.pixels // self.pixels_per_mode


DEFAULT_OPTICS = Optics()


@dataclass(frozen=True)
class Options:
    """What is planned. `chunks`: parts of the model on each stage in the interleaved schedule. `recompute`: activations
    are computed again in the backward pass. `pattern_rate` [1/s], `patterns_per_row`: the patterns of the optical
    processing unit; `None` takes the rate of `optics`. `share_columns`: all blocks read the same columns of the
    projection."""

    stages: int
    micro_batches: int
    chunks: int = 2
    recompute: bool = False
    pattern_rate: float | None = None
    patterns_per_row: int = 2
    share_columns: bool = False
    optics: Optics = DEFAULT_OPTICS


@dataclass(frozen=True)
class Line:
    """The plan of one way to train.

    `rule`: `bp` or `dfa`. `schedule`: of `bp`; of `dfa` either `forward-first`, or `None` if the weight gradients begin
    with the first error. `projector`: of `dfa`, `local` or `central`. `pattern_rate` [1/s]: of a central projector.
    `opu`: which rate that is, in the word of the line's name. `seconds`: of a step. `idle`: the share of a step
    in which a stage waits, a mean over the stages. `busiest_idle`: the same of the busiest stage. `forward_bytes`,
    `backward_bytes`, `error_bytes`, `feedback_bytes`: what travels in a step: activations, their gradients, the error,
    the projected error. `memory`, `memory_recompute` [bytes]: of the stage that needs most, with activations kept and
    recomputed. `split`: the blocks of each virtual stage.
    """

    rule: str
    schedule: str | None
    projector: str | None
    opu: str | None
    pattern_rate: float | None
    seconds: float
    idle: float
    busiest_idle: float
    forward_bytes: float
    backward_bytes: float
    error_bytes: float
    feedback_bytes: float
    memory: float
    memory_recompute: float
    split: list[int]
    order: Order = field(repr=False)
    timing: Timing = field(repr=False)
    run: Simulated = field(repr=False)
    exposures: list[tuple[float, float]] = field(default_factory=list, repr=False)

    @property
    def name(self) -> str:
        """`bp 1f1b`, `dfa local`, `dfa OPU as modelled`."""
        return f"{self.rule} {f'OPU {self.opu}' if self.opu else self.schedule or self.projector}"


@dataclass(frozen=True)
class Plan:
    """The plans of one step.

    `lines`: one for each way to train. `missing`: why a schedule has no line, as sentences. `bound` [s]: a step of
    backpropagation in which the busiest stage never waits, which no schedule with one chunk on a stage can beat.
    `needed_pattern_rate` [1/s]: with it the optical processing unit projects a micro-batch in the time in which the
    busiest stage of DFA works on one. `busiest` [s]: that time. `columns`: of the projection, which a camera reads.
    `modelled_pattern_rate` [1/s]: that of the optics of the options with so many columns. `costs`: of the stages.
    """

    work: Workload
    hardware: Hardware
    options: Options
    costs: StageCosts
    lines: list[Line]
    missing: list[str]
    bound: float
    busiest: float
    needed_pattern_rate: float
    columns: int
    modelled_pattern_rate: float

    @property
    def pattern_rate(self) -> float:
        """The patterns a second of the optical processing unit: as given, or else as modelled."""
        return self.modelled_pattern_rate if self.options.pattern_rate is None else self.options.pattern_rate

    @property
    def place(self) -> str:
        """What a stage runs on. Measured costs take only the links and the memory from the hardware."""
        if self.work.measured is None:
            return self.hardware.name
        return f"this machine ({self.work.measured}) with the links and the memory of {self.hardware.name}"

    def line(self, name: str) -> Line | None:
        return next((line for line in self.lines if line.name == name), None)

    @property
    def best_bp(self) -> Line:
        return min((line for line in self.lines if line.rule == "bp"), key=lambda line: line.seconds)


def plan(work: Workload, hardware: Hardware, options: Options) -> Plan:
    """Plan a step. Raises `DfaError` for numbers of stages or micro-batches that the model and the batch do not allow.

    `work` may hold counted operations or measured seconds.
    """
    _check(work, options)
    costs = stage_costs(
        work, hardware, np.arange(options.stages), options.micro_batches, options.share_columns
    )
    lines, missing = [], []
    for name in SCHEDULES:
        chunks = {"interleaved": options.chunks, "zbv": 2}.get(name, 1)
        if reason := _left_out(name, chunks, work, options):
            missing.append(reason)
            continue
        # With several chunks, chunks that are alike and stages that are alike are two things. The faster counts.
        tried = [
            _backpropagation(name, chunks, work, hardware, options, even_stages)
            for even_stages in (False, True)[:chunks]
        ]
        lines.append(min(tried, key=lambda line: line.seconds))
    again = costs.forward if options.recompute else 0.0
    busiest = float((costs.forward + costs.inner + costs.weight_gradient + again).max())
    needed = costs.error_rows * options.patterns_per_row / busiest
    for schedule in (FORWARD_FIRST, None):
        lines.append(_direct_feedback("local", None, None, costs, work, hardware, options, schedule))
    columns = int(costs.widest.max() if options.share_columns else costs.columns.sum())
    # More columns than a camera can read are divided among devices, which read at the same time.
    modelled = 1 / options.optics.seconds(work.classes, min(columns, options.optics.modes))
    first = (MODELLED, modelled) if options.pattern_rate is None else (GIVEN, options.pattern_rate)
    for opu, rate in (first, (FAST_ENOUGH, needed)):
        lines.append(_direct_feedback("central", opu, rate, costs, work, hardware, options))
    bound = options.micro_batches * float((costs.backpropagation + again).max())
    return Plan(work, hardware, options, costs, lines, missing, bound, busiest, needed, columns, modelled)


def require_counts(**counts: int | None) -> None:
    """Raise `DfaError` for a count of an option that is below 1, or too large to be computed with."""
    for name, value in counts.items():
        if value is not None and not 1 <= value <= LARGEST_COUNT:
            option = name.replace("_", "-")
            raise DfaError(f"--{option} is {value}. It must be a whole number from 1 to 10^12.")


def _check(work: Workload, options: Options) -> None:
    rate = options.pattern_rate
    if rate is not None and not SLOWEST <= rate <= FASTEST:
        raise DfaError(
            f"--pattern-rate is {rate:g}. It must be a number of patterns a second, from {SLOWEST:g} to {FASTEST:g}."
        )
    require_blocks(options.stages, len(work.blocks))
    if options.micro_batches > work.units:
        parts = {"token": "sequences", "node": "graph, which cannot be divided"}.get(work.row, f"{work.row}s")
        raise DfaError(
            f"{options.micro_batches} micro-batches are more than the batch of {work.rows} {work.row}s allows: it has "
            f"{work.units} {parts}; give at most --micro-batches {work.units}."
        )
    if options.stages * options.micro_batches > MOST_PARTS:
        raise DfaError(
            f"{options.micro_batches} micro-batches on {options.stages} stages are too many to plan; give at most "
            f"--micro-batches {MOST_PARTS // options.stages}."
        )


def _left_out(name: str, chunks: int, work: Workload, options: Options) -> str | None:
    """Say why a schedule cannot be planned, if it cannot."""
    stages = options.stages
    if name == "interleaved" and (chunks < 2 or stages < 2):
        return "The interleaved schedule needs two or more stages with two or more chunks each."
    if len(work.blocks) < stages * chunks:
        return (
            f"{name} is left out: {stages} stages with {chunks} chunks each need {stages * chunks} blocks, and the "
            f"model has {len(work.blocks)}."
        )
    if name == "interleaved" and options.micro_batches % stages:
        return (
            f"{name} is left out: {options.micro_batches} micro-batches are no multiple of {stages} stages."
        )
    return None


def _backpropagation(
    name: str,
    chunks: int,
    work: Workload,
    hardware: Hardware,
    options: Options,
    even_stages: bool,
) -> Line:
    """Plan a schedule of backpropagation. `chunks`: virtual stages of each stage."""
    stages, count = options.stages, options.micro_batches
    more = (chunks,) if name == "interleaved" else ()

    def make(micro_batches: int) -> Order:
        return SCHEDULES[name](stages, micro_batches, *more)

    order = make(count)
    owners = order.owners
    costs = stage_costs(work, hardware, owners, count, even_stages=even_stages)
    back = costs.inner + costs.input_gradient + (costs.forward if options.recompute else 0.0)
    durations = np.array(
        [costs.forward, back + costs.weight_gradient if order.fused else back, costs.weight_gradient]
    )
    timing = Timing(durations, costs.output / hardware.bandwidth, hardware.latency)
    run = simulate_steady(make, count, timing, period=stages if more else 1)
    travels = float(costs.output[:-1][owners[:-1] != owners[1:]].sum()) * count
    busy = costs.backpropagation + (costs.forward if options.recompute else 0.0)
    held = order.in_flight / order.chunks
    weights, kept, first, inputs = (
        _by_stage(array, owners) for array in (costs.weights, costs.kept, costs.first_input, costs.inputs)
    )
    blocks = _by_stage(costs.blocks, owners)
    # Memory with activation checkpointing, for each number `k` of blocks between two checkpoints; the smallest counts.
    # The inputs of the checkpointed blocks are held for every micro-batch. All activations of one segment of `k` blocks
    # are held as well, for the one micro-batch whose backward pass runs.
    segments = [
        np.where(k == blocks, first, inputs * np.ceil(blocks / k) / blocks) * held
        + kept * np.minimum(k / blocks, 1)
        for k in range(1, int(blocks.max()) + 1)
    ]
    return Line(
        rule="bp",
        schedule=name,
        projector=None,
        opu=None,
        pattern_rate=None,
        seconds=run.seconds,
        idle=_idle(busy.sum() / stages, run, count),
        busiest_idle=_idle(_by_stage(busy, owners).max(), run, count),
        forward_bytes=travels,
        backward_bytes=travels,
        error_bytes=0.0,
        feedback_bytes=0.0,
        memory=float((weights + held * kept).max()),
        memory_recompute=float((weights + np.minimum.reduce([*segments, held * kept])).max()),
        split=costs.blocks.tolist(),
        order=order,
        timing=timing,
        run=run,
    )


def _by_stage(array: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Add the virtual stages of each stage."""
    return np.bincount(owners, array)


def _idle(busy: float, run: Simulated, count: int) -> float:
    """Return the share of a step in which a stage waits. `busy`: its work for each of `count` micro-batches."""
    return float(1 - busy * count / run.seconds)


def _direct_feedback(
    projector: str,
    opu: str | None,
    pattern_rate: float | None,
    costs: StageCosts,
    work: Workload,
    hardware: Hardware,
    options: Options,
    schedule: str | None = None,
) -> Line:
    """Plan direct feedback alignment. `pattern_rate`: of the OPU that projects the error; `None` for no OPU."""
    stages, count = options.stages, options.micro_batches
    error = costs.error_rows * work.classes * work.value_bytes
    columns = costs.widest if options.share_columns else costs.columns
    slices = columns * costs.error_rows * work.value_bytes
    own_error = projector == "local" or not columns[-1]
    exposures: list[tuple[float, float]] = []
    again = costs.forward if options.recompute else 0.0

    def deliver() -> Delivery:
        exposures.clear()
        if pattern_rate is None:
            return Chain(error / hardware.bandwidth, hardware.latency)
        # All stages read one slice if they share columns, so it is broadcast. Otherwise the slices are sent one by one.
        sent = slices.max() if options.share_columns else slices.sum()
        return Optical(
            error / hardware.bandwidth,
            costs.error_rows * options.patterns_per_row / pattern_rate,
            sent / hardware.bandwidth,
            hardware.latency,
            exposures,
        )

    # What a stage computes for a micro-batch when the feedback or the error has arrived: the operation W of the plan.
    taught = costs.inner + costs.weight_gradient + again + (costs.projection if projector == "local" else 0.0)
    timing = Timing(
        np.array([costs.forward, np.zeros(stages), taught]),
        costs.output / hardware.bandwidth,
        hardware.latency,
    )
    warm = _forward_passes_before_the_first_error(timing, deliver(), own_error)

    def make(micro_batches: int) -> Order:
        all_first = schedule == FORWARD_FIRST
        return direct_feedback(np.full(stages, micro_batches) if all_first else warm, micro_batches)

    order = make(count)
    run = simulate_steady(make, count, timing, deliver, own_error)
    kept = order.in_flight * costs.kept
    extra = error + slices + np.zeros(stages)
    if projector == "local":
        extra = extra + work.classes * columns * work.value_bytes  # the feedback matrix
    return Line(
        rule="dfa",
        schedule=schedule,
        projector=projector,
        opu=opu,
        pattern_rate=pattern_rate,
        seconds=run.seconds,
        idle=_idle((costs.forward + taught).mean(), run, count),
        busiest_idle=_idle((costs.forward + taught).max(), run, count),
        forward_bytes=float(costs.output[:-1].sum()) * count,
        backward_bytes=0.0,
        error_bytes=error * count * (stages - 1 if projector == "local" else 1),
        feedback_bytes=0.0 if projector == "local" else float(slices.sum()) * count,
        memory=float((costs.weights + extra + kept).max()),
        memory_recompute=float(
            (
                costs.weights + extra + np.minimum(kept, order.in_flight * costs.first_input + costs.largest)
            ).max()
        ),
        split=costs.blocks.tolist(),
        order=order,
        timing=timing,
        run=run,
        exposures=exposures,
    )


def _forward_passes_before_the_first_error(timing: Timing, delivery: Delivery, own_error: bool) -> np.ndarray:
    """Count the forward passes that each stage can do before the feedback of the first micro-batch comes."""
    forward = timing.durations[FORWARD]
    hops = np.concatenate([[0.0], np.cumsum(forward[:-1] + timing.transfer[:-1] + timing.latency)])
    error = hops[-1] + forward[-1]
    passing = 0.0 if delivery.passed_on is None else delivery.passed_on + timing.latency
    wait = delivery.arrival(float(error)) + passing * np.arange(len(hops)) - hops - forward
    if own_error:
        wait[-1] = 0.0
    slowest = np.maximum.accumulate(np.maximum(forward, np.concatenate([[0.0], timing.transfer[:-1]])))
    # An exact multiple must not become one more by rounding.
    return 1 + np.ceil(wait / np.maximum(slowest, 1e-300) - 1e-6).clip(0, 2**40).astype(np.int64)


class Chain:
    """The last stage sends the error to the first, and each passes it on to the next, as in `dfa train`."""

    def __init__(self, transfer: float, latency: float):
        self.passed_on, self.latency = transfer, latency
        self._port = 0.0

    def arrival(self, error: float) -> float:
        self._port = max(error, self._port) + self.passed_on
        return self._port + self.latency


class Optical:
    """The error goes to one optical processing unit, which sends each stage its columns of the projection.

    `transfer`, `exposing`, `sending` [s]: of the error of a micro-batch, of its patterns, and of all slices together,
    one after another through one port. `exposures`: the list to which the start and the end of each projection are
    added.
    """

    passed_on = None

    def __init__(
        self,
        transfer: float,
        exposing: float,
        sending: float,
        latency: float,
        exposures: list[tuple[float, float]],
    ):
        self.transfer, self.exposing, self.sending, self.latency = transfer, exposing, sending, latency
        self.exposures = exposures
        self._arrived = self._free = self._port = 0.0

    def arrival(self, error: float) -> float:
        self._arrived = max(error, self._arrived) + self.transfer
        begin = max(self._arrived + self.latency, self._free)
        self._free = begin + self.exposing
        self.exposures.append((begin, self._free))
        self._port = max(self._free, self._port) + self.sending
        return self._port + self.latency


def sweep(work: Workload, hardware: Hardware, options: Sequence[Options]) -> tuple[list[Plan], list[str]]:
    """Plan a step for each of the options. Returns the plans, and a sentence for each value that is left out."""
    plans, left_out = [], []
    for one in options:
        try:
            plans.append(plan(work, hardware, one))
        except DfaError as error:
            left_out.append(str(error))
    if not plans:
        raise DfaError(left_out[0])
    return plans, left_out
