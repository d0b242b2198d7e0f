"""Measures how time and memory grow with the size of the graph and of the network."""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from dfa_cli.benchmark.measure import Memory
from dfa_cli.devices import Digital
from dfa_cli.machine.files import write_atomically
from dfa_cli.machine.memory import keep_freed_memory
from dfa_cli.models import Batch, FullyConnected, GraphConvolutional, Model
from dfa_cli.models.base import ModelShape
from dfa_cli.models.batch import Graph
from dfa_cli.plots.style import dress, line_look, reference_look, save
from dfa_cli.rules import Backpropagation, DirectFeedbackAlignment, LearningRule
from studies.performance.page import ROOT, Section, machine
from studies.performance.rounds import median, process

IMAGES = ROOT / "docs" / "images"
FEATURES, CLASSES, ROWS, EDGES, WIDTH = 64, 10, 256, 10, 512
SIZES = {
    "nodes": (1_000, 10_000, 100_000, 1_000_000),
    "width": (256, 512, 1024, 2048, 4096, 8192),
    "blocks": (2, 4, 8, 16, 32),
}
ABOUT = {
    "nodes": f"a graph of that many nodes, {EDGES} edges a node, {FEATURES} features, `gcn` 16 wide",
    "width": f"`fc` with two hidden blocks of that width, batch {ROWS}",
    "blocks": f"`fc` of that many blocks, {WIDTH} wide, batch {ROWS}",
}
MIN_SECONDS, MAX_REPEATS = 0.6, 30
TOLERANCE = 0.1  # of a slope; a fit over a few sizes cannot resolve less


def make_case(what: str, size: int) -> tuple[Model, Batch]:
    draws = torch.Generator().manual_seed(0)
    features = WIDTH if what == "blocks" else FEATURES
    sizes = ModelShape(features, CLASSES, draws)
    if what == "nodes":
        model = GraphConvolutional(sizes, [16], "relu", 0.0, 0.0)
        one_way = torch.randint(size, (2, EDGES * size // 2), generator=draws)
        graph = Graph(torch.cat([one_way, one_way.flip(0)], 1), size)
        y = torch.randint(CLASSES, (size,), generator=draws)
        return model, Batch(torch.randn(size, FEATURES, generator=draws), y, torch.arange(size // 10), graph)
    hidden = [size, size] if what == "width" else [WIDTH] * (size - 1)
    model = FullyConnected(sizes, hidden, "tanh", 0.0, 0.0)
    y = torch.randint(CLASSES, (ROWS,), generator=draws)
    return model, Batch(torch.randn(ROWS, features, generator=draws), y)


def operations(what: str, size: int) -> float:
    """Count the multiplications of a forward pass. A backward pass has about once or twice as many."""
    if what == "nodes":
        return size * (FEATURES * 16 + 16 * CLASSES) + (EDGES + 1) * size * (16 + CLASSES)
    hidden = [size, size] if what == "width" else [WIDTH] * (size - 1)
    widths = [WIDTH if what == "blocks" else FEATURES, *hidden, CLASSES]
    return ROWS * sum(a * b for a, b in pairwise(widths))


def measure(what: str, size: int) -> None:
    """Print the seconds of a forward pass and of a step by each rule, and the memory above the imports, as JSON.

    It runs in a process of its own, so that the memory of one case does not count for the next.
    """
    keep_freed_memory()  # as a run does
    memory = Memory()
    model, batch = make_case(what, size)
    found = {"forward": _seconds(lambda: model(batch))}
    rules: dict[str, LearningRule] = {"bp": Backpropagation(), "dfa": DirectFeedbackAlignment()}
    for name, rule in rules.items():
        rule.prepare(model, CLASSES, Digital("cpu"), torch.device("cpu"))
        found[name] = _seconds(lambda rule=rule: _step(model, rule, batch))
    found["memory_mb"] = memory.grown_mb()
    sys.stdout.write(json.dumps(found) + "\n")


def _step(model: Model, rule: LearningRule, batch: Batch) -> Tensor:
    model.zero_grad(set_to_none=True)
    return rule.backward(model, batch).loss


def _seconds(work: Callable[[], object]) -> float:
    work()
    times: list[float] = []
    while len(times) < 3 or (sum(times) < MIN_SECONDS and len(times) < MAX_REPEATS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return median(times)


Measured = dict[int, dict[str, float]]


def scaling(rounds: int) -> Section:
    section = Section(
        "Growth",
        "The tables have the time of one training step, without the update by the optimizer. The backward "
        "pass is the time of the step less that of the forward pass. It is given for backpropagation (bp) "
        "and for direct feedback alignment (dfa). Each size runs in a process of its own. Memory is the "
        "peak above that of the imports. A slope is that of the straight line fitted to the logarithms: 1 "
        "means that the time or the memory grows in proportion to the size.",
    )
    figure = f"scaling-{re.sub('[^a-z0-9]+', '-', machine().lower())}.svg"
    section.text(f"![time and memory against size](images/{figure})")
    found: dict[str, Measured] = {}
    for what, sizes in SIZES.items():
        found[what] = {
            size: json.loads(process("-m", __spec__.name, what, str(size)).output.splitlines()[-1])
            for size in sizes
        }
        rows = [
            [
                f"{size:,}",
                *(f"{1e3 * one[name]:.2f}" for name in ("forward", "bp", "dfa")),
                *(f"{1e3 * backward(one, rule):.2f}" for rule in ("bp", "dfa")),
                f"{one['memory_mb']:.0f}",
            ]
            for size, one in found[what].items()
        ]
        section.text(f"Against {what}: {ABOUT[what]}.")
        section.table(
            (
                what,
                "forward, ms",
                "step bp, ms",
                "step dfa, ms",
                "backward bp, ms",
                "backward dfa, ms",
                "memory, MB",
            ),
            rows,
        )
        most = slope(sizes, [operations(what, size) for size in sizes])
        for name, values in {
            "step by bp": [one["bp"] for one in found[what].values()],
            "step by dfa": [one["dfa"] for one in found[what].values()],
            "memory": [one["memory_mb"] for one in found[what].values()],
        }.items():
            grown = slope(sizes, values)
            words = f"at most {most:.2f} (slope of the operations) + {TOLERANCE}"
            section.bars.append(
                (f"slope of {name} against {what}", f"{grown:.2f}", words, grown <= most + TOLERANCE)
            )
    IMAGES.mkdir(parents=True, exist_ok=True)
    write_atomically(IMAGES / figure, draw(found))
    return section


def backward(one: dict[str, float], rule: str) -> float:
    return max(one[rule] - one["forward"], 1e-6)


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Fit a straight line to the logarithms by least squares and return its slope."""
    a, b = [math.log(v) for v in x], [math.log(max(v, 1e-9)) for v in y]
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    over = sum((u - mean_a) ** 2 for u in a)
    return sum((u - mean_a) * (v - mean_b) for u, v in zip(a, b, strict=True)) / over


def draw(found: dict[str, Measured]) -> bytes:
    """Draw time above memory, with a column each for nodes, width and blocks. All axes are logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    figure = Figure(figsize=(10.8, 6.2), layout="constrained")
    axes = figure.subplots(2, len(found), sharex="col", squeeze=False)
    for column, (what, sizes) in enumerate(found.items()):
        x = list(sizes)
        lines = {
            "step bp": [1e3 * one["bp"] for one in sizes.values()],
            "step dfa": [1e3 * one["dfa"] for one in sizes.values()],
            "backward bp": [1e3 * backward(one, "bp") for one in sizes.values()],
            "backward dfa": [1e3 * backward(one, "dfa") for one in sizes.values()],
        }
        memory = [one["memory_mb"] for one in sizes.values()]
        upper, lower = axes[0][column], axes[1][column]
        for i, (label, y) in enumerate(lines.items()):
            upper.plot(x, y, label=label, **line_look(i))
        lower.plot(x, memory, label="memory", **line_look(5))
        for axis, last in ((upper, lines["step bp"][-1]), (lower, memory[-1])):
            guide = [last * operations(what, size) / operations(what, x[-1]) for size in x]
            axis.plot(x, guide, label="operations", **reference_look(1))
            axis.set(xscale="log", yscale="log")
        if what != "nodes":
            lower.set_xticks(x, [str(size) for size in x])
            lower.xaxis.set_minor_locator(NullLocator())
        dress(upper, "", "", "" if column else "milliseconds")
        dress(lower, "", what, "" if column else "megabytes above the imports")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=5, frameon=False)
    return save(figure, ".svg")


if __name__ == "__main__":
    measure(sys.argv[1], int(sys.argv[2]))
