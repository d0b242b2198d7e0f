"""What one block of a model costs, and what a stage of several blocks costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dfa_cli.errors import DfaError


@dataclass(frozen=True)
class Block:
    """The costs of one block for one row: a token, a sample or a node.

    The unit of the first five is operations, or seconds where they were measured.

    `forward`: the forward pass.
    `inner`: the gradients that the block needs inside itself, to reach its own first operations. Both rules need them.
    `input_gradient`: the further work for the gradient with respect to the block's input. Only backpropagation needs
    it; direct feedback alignment leaves it out. It is 0 for the first block, whose input is the data.
    `weight_gradient`: the gradients of the weights.
    `projection`: the digital projection of the error to the block's width; 0 for the last block, which needs none.
    `width`: columns of the output.
    `kept`: bytes that the forward pass keeps for the backward pass.
    `parameters`: their number in the whole block.
    """

    forward: float
    inner: float
    input_gradient: float
    weight_gradient: float
    projection: float
    width: int
    kept: float
    parameters: int

    @property
    def total(self) -> float:
        """The costs under backpropagation."""
        return self.forward + self.inner + self.input_gradient + self.weight_gradient


@dataclass(frozen=True)
class Workload:
    """A model, and the batch of one step.

    `rows`: rows of a batch. `unit`: rows that cannot be divided, such as those of a sequence. `features`: columns of
    the input. `classes`: columns of the error. `value_bytes`: bytes of an activation. `parameter_bytes`: bytes that a
    parameter takes, with its gradient and the state of the optimizer. `row`: what a row is called.
    `labelled`: the share of the rows that have an error. Only these are projected.
    `measured`: what the costs of the blocks were measured on. They are then seconds, and otherwise operations.
    """

    name: str
    blocks: tuple[Block, ...]
    rows: int
    classes: int
    features: int
    row: str = "row"
    unit: int = 1
    value_bytes: int = 4
    parameter_bytes: int = 16
    measured: str | None = None
    labelled: float = 1.0

    @property
    def parameters(self) -> int:
        return sum(block.parameters for block in self.blocks)

    @property
    def units(self) -> int:
        """The largest number of micro-batches that the batch can be divided into."""
        return max(1, self.rows // self.unit)

    def with_rows(self, rows: int) -> Workload:
        return replace(self, rows=rows)


@dataclass(frozen=True)
class Hardware:
    """The processor of one stage, and the link between two stages.

    `peak`: operations per second. `achieved`: the part of them that training reaches. `bandwidth`: bytes per second of
    a link, in each direction. `latency`: seconds of a message. `memory`: bytes.
    """

    name: str
    peak: float
    achieved: float
    bandwidth: float
    latency: float
    memory: float


@dataclass(frozen=True)
class StageCosts:
    """The costs of each (virtual) stage for one micro-batch, each an array over the stages.

    `forward`, `inner`, `input_gradient`, `weight_gradient`, `projection`: seconds, as in `Block`.
    `output`: bytes that go to the next stage; a gradient that comes back has as many.
    `columns`: sum of the widths of the blocks that need feedback. `widest`: the largest of these widths.
    `blocks`: their number. `kept`: bytes of activations until the backward pass. `inputs`: bytes of the inputs of all
    blocks. `first_input`: bytes of the input of the first block. `largest`: bytes that the most demanding block keeps.
    `weights`: bytes of the parameters, with gradients and optimizer.
    `rows`: rows of the micro-batch. `error_rows`: those that have an error.
    """

    forward: np.ndarray
    inner: np.ndarray
    input_gradient: np.ndarray
    weight_gradient: np.ndarray
    projection: np.ndarray
    output: np.ndarray
    columns: np.ndarray
    widest: np.ndarray
    blocks: np.ndarray
    kept: np.ndarray
    inputs: np.ndarray
    first_input: np.ndarray
    largest: np.ndarray
    weights: np.ndarray
    rows: float
    error_rows: float

    @property
    def backpropagation(self) -> np.ndarray:
        """Seconds of all that a stage computes for a micro-batch under backpropagation."""
        return self.forward + self.inner + self.input_gradient + self.weight_gradient


def stage_costs(
    work: Workload,
    hardware: Hardware,
    owners: np.ndarray,
    micro_batches: int,
    share_columns: bool = False,
    even_stages: bool = False,
) -> StageCosts:
    """Add the costs of the blocks of each virtual stage. `owners`: the stage of each virtual stage.

    `even_stages`: a stage that has several virtual stages gets about as much work as every other stage, while its
    virtual stages may differ.
    `share_columns`: all blocks read the same columns of one projection, as with `rule.share_columns`, so that a stage
    projects once, to the width of its widest block.
    """
    rows = work.rows / micro_batches
    second = rows if work.measured is not None else rows / (hardware.peak * hardware.achieved)
    costs = [block.total for block in work.blocks]
    ends = split(costs, len(owners))
    if even_stages:
        ends = balanced(costs, ends, owners)
    parts = [work.blocks[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
    widths = [work.features, *(block.width for block in work.blocks)]
    inputs = [
        [rows * width * work.value_bytes for width in widths[begin:end]]
        for begin, end in zip([0, *ends], ends, strict=False)
    ]
    projected = [[block.width for block in part if block.projection] for part in parts]

    def total(name: str) -> np.ndarray:
        return np.array([sum(getattr(block, name) for block in part) for part in parts], float)

    projection = total("projection")
    if share_columns:
        projection = np.array([max(block.projection for block in part) for part in parts])
    return StageCosts(
        forward=total("forward") * second,
        inner=total("inner") * second,
        input_gradient=total("input_gradient") * second,
        weight_gradient=total("weight_gradient") * second,
        projection=projection * second * work.labelled,
        output=np.array([part[-1].width for part in parts]) * rows * work.value_bytes,
        columns=np.array([sum(part) for part in projected]),
        widest=np.array([max(part, default=0) for part in projected]),
        blocks=np.array([len(part) for part in parts]),
        kept=total("kept") * rows,
        inputs=np.array([sum(part) for part in inputs]),
        first_input=np.array([part[0] for part in inputs]),
        largest=np.array([max(block.kept for block in part) for part in parts]) * rows,
        weights=total("parameters") * work.parameter_bytes,
        rows=rows,
        error_rows=rows * work.labelled,
    )


def split(costs: Sequence[float], stages: int) -> list[int]:
    """Divide blocks into consecutive parts so that the most expensive part is as cheap as possible.

    Returns the end of each part: `[2, 3]` for the parts `[0:2]` and `[2:3]`. Raises `DfaError` when there are fewer
    blocks than parts.
    """
    require_blocks(stages, len(costs))
    sums = np.concatenate([[0.0], np.cumsum(costs)])
    # The bound on a part is found by bisection; the parts are then filled from the left up to the bound.
    low, high = max(costs), float(sums[-1])
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (low, middle) if len(_fill(sums, middle)) <= stages else (middle, high)
    ends = _fill(sums, high)
    # Bisection may leave parts over. Taking a block off a part with several makes no part more expensive.
    while len(ends) < stages:
        bounds = [0, *ends]
        widest = max(
            range(len(ends)),
            key=lambda i: (bounds[i + 1] - bounds[i] > 1, sums[bounds[i + 1]] - sums[bounds[i]]),
        )
        begin, end = bounds[widest], bounds[widest + 1]
        half = int(np.searchsorted(sums, (sums[begin] + sums[end]) / 2))
        ends.insert(widest, min(max(half, begin + 1), end - 1))
    return ends


def require_blocks(stages: int, blocks: int) -> None:
    """Raise `DfaError` for more stages than blocks."""
    if stages > blocks:
        raise DfaError(
            f"{stages} stages are more than the {blocks} blocks of the model, and a stage holds at least one; give at "
            f"most --stages {blocks}."
        )


def balanced(costs: Sequence[float], ends: Sequence[int], owners: np.ndarray) -> list[int]:
    """Move single blocks between neighbouring parts, as long as the work of two stages becomes more even.

    `costs`: of each block. `ends`: the end of each part, as `split` returns them. `owners`: the stage of each part.
    """
    ends = list(ends)
    load = np.bincount(owners, [sum(costs[a:b]) for a, b in zip([0, *ends], ends, strict=False)])
    moved = True
    while moved:
        moved = False
        for k in range(len(ends) - 1):
            # Part k takes the first block of part k + 1, or part k + 1 takes the last block of part k.
            after, before = ends[k + 1] - ends[k], ends[k] - (ends[k - 1] if k else 0)
            for step, size, giver, taker in ((1, after, k + 1, k), (-1, before, k, k + 1)):
                cost = costs[ends[k] if step == 1 else ends[k] - 1]
                if size > 1 and load[owners[giver]] - load[owners[taker]] > cost * (1 + 1e-9):
                    load[owners[giver]] -= cost
                    load[owners[taker]] += cost
                    ends[k] += step
                    moved = True
                    break
    return ends


def _fill(sums: np.ndarray, bound: float) -> list[int]:
    ends, end = [], 0
    while end < len(sums) - 1:
        end = max(int(np.searchsorted(sums, sums[end] + bound * (1 + 1e-12), side="right")) - 1, end + 1)
        ends.append(end)
    return ends
