"""From costs to a timeline: when each stage does each operation. A pure function, without torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dfa_cli.planner.schedules import BACKWARD, FORWARD, WEIGHT, Order

STEADY = 1e-9  # distances in time are equal if they differ by no more than this part of the step
# `simulate_steady` finds how many micro-batches are in flight from the order of a batch of about so many micro-batches.
# The order of a longer batch takes too long to make, and shows the same.
LONG = 4096


@dataclass(frozen=True)
class Timing:
    """How long the operations and the transfers of one micro-batch take, in seconds.

    `durations` `[3, virtual stages]`: of F, B and W. A fused B contains W.
    `transfer` `[virtual stages]`: how long the output of a virtual stage is on its way to the next one, and the
    gradient of that output on its way back. A stage sends one message at a time in each direction, while it computes.
    `latency`: is added to every message.
    """

    durations: np.ndarray
    transfer: np.ndarray
    latency: float = 0.0


class Delivery(Protocol):
    """Says when the feedback of a micro-batch is there, in direct feedback alignment.

    `passed_on` [s]: what comes is the error, which comes to the first stage. Each stage sends it to the next when it
    takes it, that is when W begins, and the message takes so long. `None`: the feedback reaches all stages at once.
    """

    @property
    def passed_on(self) -> float | None: ...

    def arrival(self, error: float) -> float:
        """Return when the feedback reaches the first stage or all. `error`: when the last stage has the error.

        It is called once for each micro-batch, in their order.
        """
        ...


@dataclass(frozen=True)
class Simulated:
    """When the stages work. `begin`, `end` `[stages]`: the start of the first operation and the end of the last one.

    `starts` `[stages, operations]`: the start of each operation of the order; `None` where a steady state was
    recognised and the operations in it were not enumerated.
    """

    begin: np.ndarray
    end: np.ndarray
    starts: np.ndarray | None = None

    @property
    def seconds(self) -> float:
        """The time of a step: the longest time from the first to the last operation of one stage.

        If steps follow one another, and each stage updates its weights as soon as it has their gradients, a step begins
        so long after the one before (Qi et al. 2023). The zero-bubble schedules and direct feedback
        alignment gain by it.

        With faster messages this may be about a per cent longer, though no operation starts later: a stage may begin
        earlier by more than it ends earlier.
        """
        return float((self.end - self.begin).max())

    @property
    def between_barriers(self) -> float:
        """The time from the first operation of any stage to the last of any."""
        return float(self.end.max() - self.begin.min())


def simulate(
    order: Order,
    timing: Timing,
    delivery: Delivery | None = None,
    own_error: bool = True,
) -> Simulated:
    """Compute when each operation starts: as soon as its stage is free and what it needs has arrived.

    F needs the output of the virtual stage before it, and B the gradient from the one after it. W needs B of the same
    stage. With a `delivery` there is no B, and W needs the feedback. `own_error`: the last stage needs only the error,
    which it has itself, so that none is passed on to it.

    In each round every stage whose next operation can start does it, all at once. The rounds need not follow the
    clock, since the order of each stage is fixed and the times follow from it.
    """
    stages, length = order.codes.shape
    virtual, count = order.virtual, order.micro_batches
    # `ready`: when what an operation needs is there, by the code of the operation (`Order.codes`). The last entry,
    # `nowhere`, is for results that no operation needs.
    nowhere = 3 * virtual * count
    ready = np.full(nowhere + 1, np.inf)
    ready[:count] = 0.0  # F of the first virtual stage reads the data
    if delivery is None:
        ready[WEIGHT * virtual * count : nowhere] = 0.0  # the order has B of the same stage before it

    # For each kind and virtual stage: where its result is needed, and how long it travels through which port.
    target = np.full((3, virtual), nowhere, np.int64)
    travel, port_of = np.zeros((3, virtual)), np.full((3, virtual), 2, np.int64)
    wait = np.zeros((3, virtual))
    target[FORWARD, :-1], target[BACKWARD, 1:] = count, -count
    for v in np.flatnonzero(order.owners[:-1] != order.owners[1:]):
        # On the way back of a folded order the two directions are exchanged.
        up = int(order.folded and v >= stages)
        travel[FORWARD, v] = travel[BACKWARD, v + 1] = timing.transfer[v]
        wait[FORWARD, v] = wait[BACKWARD, v + 1] = timing.latency
        port_of[FORWARD, v], port_of[BACKWARD, v + 1] = up, 1 - up
    if delivery is None:
        target[FORWARD, -1] = virtual * count  # B of the last virtual stage follows its F
    first = stages  # how many stages the feedback reaches directly
    if delivery is not None and delivery.passed_on is not None:
        first, onward = 1, slice(0, max(0, stages - 1 - own_error))
        target[WEIGHT, onward], travel[WEIGHT, onward] = count, delivery.passed_on
        wait[WEIGHT, onward], port_of[WEIGHT, onward] = timing.latency, 0
    target, port_of = target.reshape(-1), port_of.reshape(-1)
    travel, wait = travel.reshape(-1), wait.reshape(-1)
    durations = timing.durations.reshape(-1)

    # `free`: when each stage has ended its last operation. `port`: when each stage has sent its last message downwards,
    # upwards, and to itself. `position`: the place of each stage's next operation in its order.
    starts = np.empty((stages, length))
    free, port = np.zeros(stages), np.zeros((3, stages))
    position = np.zeros(stages, np.int64)
    codes = order.codes
    feedback = ready[WEIGHT * virtual * count : nowhere].reshape(virtual, count)
    last_forward = (virtual - 1) * count
    working = np.arange(stages)
    while len(working):
        code = codes[working, position[working]]
        at = ready[code]
        able = at < np.inf
        stage, code, at = working[able], code[able], at[able]
        assert len(stage), "the order of the stages has a deadlock"
        kind = code // count
        start = np.maximum(free[stage], at)
        end = start + durations[kind]
        free[stage] = end
        starts[stage, position[stage]] = start
        sending = port_of[kind]  # a result that needs no port has one of its own, which is never busy
        # A result leaves when its operation has ended. W passes on what has come, and does so before it begins.
        leaves = np.where(kind < WEIGHT * virtual, end, start)
        sent = np.maximum(leaves, port[sending, stage]) + travel[kind]
        port[sending, stage] = sent
        goal = target[kind]
        ready[np.where(goal == nowhere, nowhere, code + goal)] = sent + wait[kind]
        position[stage] += 1
        if (
            delivery is not None
            and stage[-1] == stages - 1
            and last_forward <= code[-1] < last_forward + count
        ):
            m = code[-1] - last_forward
            feedback[:first, m] = delivery.arrival(float(end[-1]))
            if own_error:
                feedback[-1, m] = end[-1]
        working = working[position[working] < length]
    ends = starts[:, -1] + durations[codes[:, -1] // count]
    return Simulated(starts[:, 0].copy(), ends, starts)


def simulate_steady(
    order_of: Callable[[int], Order],
    micro_batches: int,
    timing: Timing,
    delivery_of: Callable[[], Delivery] | None = None,
    own_error: bool = True,
    period: int = 1,
) -> Simulated:
    """Do what `simulate` does, but enumerate no more micro-batches than are needed to see a steady state.

    `order_of`: makes the order for a number of micro-batches, the middle of which repeats itself after `period` of
    them. A shorter batch is simulated first. Its middle is steady if all operations start at the same distance in time
    after those of one to four periods before, and do so for longer than any operation depends on an earlier one. Then
    each further group of so many periods adds this distance to the step.
    """

    def run(order: Order) -> Simulated:
        return simulate(order, timing, delivery_of() if delivery_of else None, own_error)

    probed = min(micro_batches, LONG + (micro_batches - LONG) % period)
    order = order_of(probed)
    reach = int(order.in_flight.max())
    shorter = 6 * reach + 64
    while reach < probed and (shorter := shorter + (micro_batches - shorter) % (12 * period)) < micro_batches:
        order = order_of(shorter)
        short = run(order)
        for span in (period, 2 * period, 3 * period, 4 * period):
            if (distance := _steady_distance(order, short, reach, span)) is not None:
                return Simulated(short.begin, short.end + (micro_batches - shorter) // span * distance)
        shorter *= 2
    return run(order if order.micro_batches == micro_batches else order_of(micro_batches))


def _steady_distance(order: Order, run: Simulated, reach: int, span: int) -> float | None:
    """Return by how much each operation of the middle follows that of `span` micro-batches before, if all agree."""
    assert run.starts is not None
    times = np.full((3, order.virtual, order.micro_batches), np.nan)
    times.reshape(-1)[order.codes.reshape(-1)] = run.starts.reshape(-1)
    middle = order.micro_batches // 2
    part = times[~np.isnan(times[:, :, 0]).all(axis=1)][:, :, middle - reach : middle + reach + span]
    shifts = part[:, :, span:] - part[:, :, :-span]
    if np.ptp(shifts) > STEADY * run.seconds:
        return None
    return float(shifts.mean())
