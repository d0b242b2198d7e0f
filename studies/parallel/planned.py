"""Compares what the planner plans with what a pipeline takes, and writes the table of docs/independent-blocks.md.

    .venv/bin/python -m studies.parallel.planned                  everything; about 12 minutes on a quiet Xeon
    .venv/bin/python -m studies.parallel.planned --small --no-page   few rounds, to try the program

In each round the blocks are timed first, by the code of `dfa plan --measure`, in all processes at once, so that they
take as long as they do in the pipeline. The time of messages is measured too. From these costs the planner plans some
steps in a row. Then the pipeline of `dfa train` does these steps. The figure of a round is measured / planned.

Two stages compute on two cores. Three stages cannot. So there is a second network, whose blocks sleep in place of
computing: the forward pass, the gradient of the input and the gradient of the weights each for a time of their own. It
runs through the same pipeline, with the same messages between the same processes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, distributed, nn

from dfa_cli.models.base import Block as ModelBlock
from dfa_cli.models.base import Model
from dfa_cli.parallel.links import ProcessLink
from dfa_cli.parallel.parts import split_batch
from dfa_cli.parallel.processes import Team, joined
from dfa_cli.parallel.traffic import FORWARD
from dfa_cli.planner.configuration import time_blocks
from dfa_cli.planner.costs import Block, Hardware, Workload
from dfa_cli.planner.plan import FORWARD_FIRST, Line, Options, plan
from studies.parallel.__main__ import put_between
from studies.parallel.pair import Contender, Network, measure
from studies.performance.page import Section

MARK = "<!-- studies.parallel.planned -->"
MODULE = "studies.parallel.planned"
MICRO_BATCHES = (1, 4, 8)
SCHEDULES = ("gpipe", "1f1b", "interleaved", "zero-bubble", "zbv")
WITHIN = 0.15  # of the planned time, or the interquartile range, whichever is larger


class _Forward(torch.autograd.Function):
    """Sleeps, and gives an output of the right size. Its gradients sleep in `_Slept`, each on a way of its own."""

    @staticmethod
    def forward(ctx: Any, seconds: float, rows: int, width: int, *ways: Tensor) -> Tensor:  # type: ignore[override]
        ctx.ways = [way.shape for way in ways]
        time.sleep(seconds)
        return torch.zeros(rows, width)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, ...]:
        return (None, None, None, *(torch.zeros(shape) for shape in ctx.ways))


class _Slept(torch.autograd.Function):
    """One number, whose gradient takes some seconds of sleep."""

    @staticmethod
    def forward(ctx: Any, seconds: float, source: Tensor) -> Tensor:  # type: ignore[override]
        ctx.seconds, ctx.shape = seconds, source.shape
        return torch.zeros(1)

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[None, Tensor]:
        time.sleep(ctx.seconds)
        return None, torch.zeros(ctx.shape)


class _Sleeping(nn.Module):
    """A layer that sleeps. `row_seconds`: for a row, of the forward pass and of each of the two gradients."""

    def __init__(self, width: int, row_seconds: float):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.width, self.row_seconds = width, row_seconds

    def forward(self, h: Tensor, graph: object) -> Tensor:
        seconds = self.row_seconds * len(h)
        ways = (_Slept.apply(seconds, h), _Slept.apply(seconds, self.weight))
        return _Forward.apply(seconds, len(h), self.width, *ways)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Asleep(Network):
    """A network whose blocks sleep. `seconds`: of each operation of a block on the whole batch."""

    seconds: float = 0.04

    def model(self) -> Model:
        widths = [self.width] * (self.blocks - 1) + [self.classes]
        return Model(
            [ModelBlock(_Sleeping(width, self.seconds / self.rows), width, None, 0.0) for width in widths]
        ).train()


@dataclass
class Compared:
    """One line of the table: what was planned, and what was measured, in the seconds of each round."""

    kind: str
    stages: int
    rule: str
    schedule: str
    micro_batches: int
    planned: list[float] = field(default_factory=list)
    measured: list[float] = field(default_factory=list)

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """Quartiles of measured / planned."""
        ratios = [one / other for one, other in zip(self.measured, self.planned, strict=True)]
        first, middle, last = statistics.quantiles(ratios, n=4, method="inclusive")
        return first, middle, last

    @property
    def met(self) -> bool:
        first, middle, last = self.quartiles
        return abs(middle - 1) <= max(WITHIN, last - first)


def measure_link(team: Team, link: ProcessLink, sizes: Sequence[int]) -> tuple[float, float]:
    """Return the bytes per second of a link, and the seconds of a message, from messages to and fro."""

    def once(count: int) -> float:
        tensor = torch.zeros(count)
        times = []
        for _ in range(12):
            distributed.barrier()
            began = time.perf_counter()
            if team.rank == 0:
                link.send(FORWARD, 1, tensor)
                link.expect(FORWARD, 1, (count,), torch.float32)()
            elif team.rank == 1:
                link.send(FORWARD, 0, link.expect(FORWARD, 0, (count,), torch.float32)())
            link.flush()
            times.append((time.perf_counter() - began) / 2)
        return statistics.median(times)

    small, large = once(sizes[0]), once(sizes[1])
    return 4 * (sizes[1] - sizes[0]) / max(large - small, 1e-9), small


def planned_lines(
    network: Network, blocks: Sequence[Block], hardware: Hardware, options: Options
) -> list[Line]:
    """Plan a step with the rules and schedules that `dfa train` can run on so many stages and micro-batches."""
    work = Workload("", tuple(blocks), network.rows, network.classes, network.features, measured="cpu")
    lines = plan(work, hardware, options).lines
    return [
        line
        for line in lines
        if (line.rule == "dfa" and line.schedule == FORWARD_FIRST)
        # Torch asks for as many micro-batches as processes, except with GPipe.
        or (
            line.schedule == "gpipe"
            or (line.schedule in SCHEDULES and options.micro_batches >= options.stages)
        )
    ]


def seconds_per_step(line: Line, steps: int) -> float:
    """Return the mean time of a step when `steps` steps follow each other."""
    return ((steps - 1) * line.run.seconds + line.run.between_barriers) / steps


def compare(team: Team, network: Network, kind: str, rounds: int, steps: int) -> list[Compared]:
    """Plan and measure, in each round. All processes call it. What rank 0 times and plans is told to the others."""
    link = ProcessLink(team, torch.device("cpu"))
    found: dict[tuple[str, str, int], Compared] = {}
    for _ in range(rounds):
        bandwidth, latency = team.tell(measure_link(team, link, (16, network.rows * network.width)))
        hardware = Hardware("this machine", 1.0, 1.0, bandwidth, latency, 1e12)
        for parts in MICRO_BATCHES:
            blocks = measure_blocks(team, network, parts)
            for line in planned_lines(network, blocks, hardware, Options(team.size, parts)):
                schedule = str(line.schedule)
                one = found.setdefault(
                    (line.rule, schedule, parts), Compared(kind, team.size, line.rule, schedule, parts)
                )
                one.planned.append(seconds_per_step(line, steps))
                # The study of pipelines calls it by its projector.
                run_as = "local" if line.rule == "dfa" else schedule
                contender = Contender(line.rule, run_as, parts, tuple(line.split))
                one.measured.append(measure(team, link, network, contender, steps).seconds)
    return list(found.values())


def measure_blocks(team: Team, network: Network, parts: int) -> list[Block]:
    """Time the blocks on a micro-batch, in all processes at once, so that they take as long as in the pipeline."""
    distributed.barrier()
    timed = time_blocks(
        network.model(),
        split_batch(network.batch(), parts)[0].batch,
        network.classes,
        torch.device("cpu"),
        value_bytes=4,
        added=parts > 1,
        choose=statistics.median,
        seconds=1.0,
    )
    return [Block(**one) for one in team.tell([asdict(block) for block in timed])]


def network_of(order: dict[str, Any]) -> Network:
    return (Asleep if "seconds" in order else Network)(**order)


def compare_in(processes: int, network: Network, kind: str, rounds: int, steps: int) -> list[Compared]:
    order = {"network": asdict(network), "rounds": rounds, "steps": steps, "processes": processes}
    with joined(processes, ["-m", MODULE, "--process", json.dumps(order)], "cpu") as team:
        return compare(team, network, kind, rounds, steps)


def report(found: Sequence[Compared], steps: int) -> Section:
    section = Section("", "")
    rows = []
    for one in found:
        first, middle, last = one.quartiles
        rows.append(
            [
                f"{one.stages} stages, {one.kind}",
                f"{one.rule} {one.schedule}",
                str(one.micro_batches),
                f"{1e3 * statistics.median(one.planned):.0f}",
                f"{1e3 * statistics.median(one.measured):.0f}",
                f"{middle:.2f} [{first:.2f}, {last:.2f}]",
                "yes" if one.met else "**no**",
            ]
        )
    section.table(
        ("", "", "micro-batches", "planned, ms", "measured, ms", "measured / planned", "within"), rows
    )
    off = statistics.median(abs(one.quartiles[1] - 1) for one in found)
    section.text(
        f"{sum(one.met for one in found)} of {len(found)} lines are within 15 % of the plan, or within the distance of "
        f"the quartiles where that is larger. Half of them are less than {100 * off:.1f} % off. There were "
        f"{len(found[0].measured)} rounds, and a measurement is {steps} steps in a row."
    )
    return section


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7, help="rounds in which all take turns (7)")
    parser.add_argument("--steps", type=int, default=4, help="steps in a row of one measurement (4)")
    parser.add_argument(
        "--small", action="store_true", help="two rounds and quick blocks, to try the program"
    )
    parser.add_argument("--no-page", action="store_true", help="only print the table")
    parser.add_argument("--asleep", action="store_true", help="only the blocks that sleep")
    parser.add_argument("--process", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.process:
        order = json.loads(options.process)
        with joined(order["processes"], [], "cpu") as team:
            compare(team, network_of(order["network"]), "", order["rounds"], order["steps"])
        return
    rounds, steps = (2, 2) if options.small else (options.rounds, options.steps)
    if rounds < 2 or steps < 1:
        parser.error("--rounds must be at least 2, and --steps at least 1")
    computing = Network(width=256, rows=512) if options.small else Network()
    asleep = Asleep(width=256, rows=256)
    found = [] if options.asleep else compare_in(2, computing, "computing", rounds, steps)
    for stages in (2, 3):
        found += compare_in(stages, asleep, "sleeping", rounds, steps)
    section = report(found, steps)
    print("\n".join(section.body), flush=True)
    if not options.no_page:
        put_between(MARK, section)


if __name__ == "__main__":
    sys.exit(main())
