"""Times training steps in a pair of connected processes, or in one of them alone."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import distributed

from dfa_cli.devices.digital import Digital
from dfa_cli.models import Batch, FullyConnected, Model
from dfa_cli.models.base import ModelShape
from dfa_cli.parallel.divided import Placement
from dfa_cli.parallel.links import ProcessLink
from dfa_cli.parallel.pipeline import chunk_owners
from dfa_cli.parallel.processes import Team, joined
from dfa_cli.parallel.schedules import ScheduledBackpropagation
from dfa_cli.parallel.stage import BlockwiseStage
from dfa_cli.parallel.traffic import Traffic
from dfa_cli.rules import Backpropagation, DirectFeedbackAlignment, LearningRule
from dfa_cli.seeding import generator

PROCESSES = 2
MODULE = "studies.parallel.pair"


@dataclass(frozen=True)
class Network:
    """A fully connected network with `blocks` blocks, the last of which gives the logits, and its batch."""

    blocks: int = 8
    width: int = 1024
    rows: int = 1024
    features: int = 784
    classes: int = 10

    def model(self) -> Model:
        shape = ModelShape(self.features, self.classes, generator(0, "weights"), generator(0, "dropout"))
        return FullyConnected(shape, [self.width] * (self.blocks - 1), "tanh", 0.0, 0.0).train()

    def batch(self) -> Batch:
        draws = generator(0, "batch")
        x = torch.randn(self.rows, self.features, generator=draws)
        return Batch(x, torch.randint(0, self.classes, (self.rows,), generator=draws))


@dataclass(frozen=True)
class Contender:
    """A way to train. `schedule`: `local` or `central` for dfa, and a schedule of torch for bp; `""`: one process."""

    rule: str
    schedule: str = ""
    micro_batches: int = 1
    split: tuple[int, ...] = ()

    def __str__(self) -> str:
        if not self.schedule:
            return f"{self.rule}, one process"
        return f"{self.rule}, {self.schedule}, {self.micro_batches} micro-batches, split {list(self.split)}"


@dataclass(frozen=True)
class Measured:
    """Seconds of a step, and the bytes that both processes send in it, by kind."""

    seconds: float
    sent: dict[str, int]


def measure(team: Team, link: ProcessLink, network: Network, contender: Contender, steps: int) -> Measured:
    """Measure some steps in a row, each with the update of the weights, after one that does not count."""
    link.traffic = Traffic()
    model, batch = network.model(), network.batch()
    rule: LearningRule = DirectFeedbackAlignment() if contender.rule == "dfa" else Backpropagation()
    rule.prepare(model, network.classes, Digital("cpu"), torch.device("cpu"))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    step: Any = None
    if not contender.schedule:
        step = (lambda _: rule.backward(model, batch)) if team.rank == 0 else None
    else:
        stops = list(accumulate(contender.split))
        chunks = [range(stop - size, stop) for stop, size in zip(stops, contender.split, strict=True)]
        placement = Placement(chunks, chunk_owners(contender.schedule, team.size))
        if contender.rule == "dfa":
            central = contender.schedule == "central"
            step = BlockwiseStage(model, rule, chunks, link, contender.micro_batches, central, True).step
        else:
            step = ScheduledBackpropagation(
                model, placement, link, contender.micro_batches, contender.schedule
            ).step
    for count in (1, steps):
        distributed.barrier()
        began = time.perf_counter()
        for _ in range(count if step is not None else 0):
            assert step is not None
            optimizer.zero_grad(set_to_none=True)
            step(batch)
            optimizer.step()
        distributed.barrier()
        seconds = (time.perf_counter() - began) / count
    sent = {kind: counts["bytes"] // (steps + 1) for kind, counts in link.traffic.sent.items()}
    both = team.gather_json({"sent": sent})
    return Measured(seconds, {kind: sum(one["sent"][kind] for one in both) for kind in sent})


def measure_all(
    network: Network, contenders: Sequence[Contender], rounds: int, steps: int
) -> list[list[Measured]]:
    """Measure the contenders in turns, `rounds` times. Returns the rounds of each."""
    torch.set_num_threads(1)
    order = {
        "network": asdict(network),
        "contenders": [asdict(c) for c in contenders],
        "rounds": rounds,
        "steps": steps,
    }
    with joined(PROCESSES, ["-m", MODULE, json.dumps(order)], "cpu") as team:
        return _rounds(team, network, contenders, rounds, steps)


def _rounds(
    team: Team, network: Network, contenders: Sequence[Contender], rounds: int, steps: int
) -> list[list[Measured]]:
    # One link serves all: the threads of each group of processes wake up a hundred times a second until the end.
    link = ProcessLink(team, torch.device("cpu"))
    found: list[list[Measured]] = [[] for _ in contenders]
    for _ in range(rounds):
        for place, contender in enumerate(contenders):
            found[place].append(measure(team, link, network, contender, steps))
    return found


def main() -> None:
    torch.set_num_threads(1)
    order = json.loads(sys.argv[1])
    contenders = [Contender(**{**one, "split": tuple(one["split"])}) for one in order["contenders"]]
    with joined(PROCESSES, [], "cpu") as team:
        _rounds(team, Network(**order["network"]), contenders, order["rounds"], order["steps"])


if __name__ == "__main__":
    main()
