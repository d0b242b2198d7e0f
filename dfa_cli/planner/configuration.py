"""The blocks of a configuration: their operations are counted, or they are timed on this machine."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dfa_cli.config.auto import resolve_auto
from dfa_cli.config.spec import RunSpec
from dfa_cli.console.values import plural
from dfa_cli.errors import DfaError
from dfa_cli.planner.costs import Block, Workload
from dfa_cli.planner.counting import fully_connected, graph_convolution

if TYPE_CHECKING:
    import torch

    from dfa_cli.data.base import Data
    from dfa_cli.models import Batch, Model

TIMED_SECONDS = 3.0  # for the whole model


def count(spec: RunSpec) -> Workload:
    """Count the operations of the blocks of a configuration. Raises `DfaError` for a model that is not counted here."""
    data = _load(spec)
    model = spec.config["model"]
    kind = model["_target_"].rpartition(".")[2]
    value_bytes = 2 if spec.config["precision"] == "bf16" else 4
    widths = [data.x.shape[1], *model.get("hidden", []), data.classes]
    if kind == "FullyConnected":
        blocks = fully_connected(widths, value_bytes)
    elif kind == "GraphConvolutional" and data.edge_index is not None:
        nodes = len(data.y)
        stored = data.x.values().numel() if data.x.layout is not _strided() else data.x.numel()
        # A' has the edges and a self loop at each node.
        blocks = graph_convolution(widths, data.edge_index.shape[1] / nodes + 1, stored / nodes, value_bytes)
    else:
        raise DfaError(
            f"The operations of model={spec.choices.get('model')} cannot be counted, only those of fc and gcn; "
            "add --measure to time its blocks on this machine."
        )
    return _workload(spec, data, blocks, value_bytes)


def measure(spec: RunSpec, batch_rows: int | None, micro_batches: int, stages: int) -> Workload:
    """Time the blocks of a configuration on this machine, with the rows of one micro-batch.

    The stages share the cores of this machine, unless `threads` of the configuration says how many threads one has.
    `batch_rows`: rows of a batch, in place of those of the configuration.
    """
    import torch

    from dfa_cli.config.instantiate import files_named
    from dfa_cli.training.setup import build_experiment
    from dfa_cli.training.threads import process_threads

    config = resolve_auto(spec.config)
    config["threads"] = config["threads"] or max(1, process_threads() // stages)
    data = _load(spec, config["compute"])
    on = f"{config['compute']}, {plural(config['threads'], 'thread')} a stage"
    with files_named(spec):
        experiment = build_experiment(config, data, spec.choices)
    rows = batch_rows or _rows(config, data)
    work = _workload(spec, data, (), 2 if config["precision"] == "bf16" else 4)
    part = max(1, rows // micro_batches)
    batch = experiment.batches.sample(part)
    blocks = time_blocks(
        experiment.model.train(),
        batch,
        data.classes,
        torch.device(config["compute"]),
        work.value_bytes,
        added=micro_batches > 1,
    )
    return _workload(spec, data, blocks, work.value_bytes, measured=on)


def time_blocks(
    model: Model,
    batch: Batch,
    classes: int,
    compute: torch.device,
    value_bytes: int,
    added: bool,
    choose: Callable[[list[float]], float] = min,
    seconds: float = TIMED_SECONDS,
) -> tuple[Block, ...]:
    """Time the blocks of a model on the rows of a batch.

    Four things are timed of each block: the forward pass, the gradients of the weights, these together with the
    gradient of the input, and a digital projection of the error to the width of the block. What a block needs inside
    itself to reach its weights is part of the weight gradients. `added`: the gradients are added to those of an earlier
    micro-batch. The whole model is timed, over and over, for so many `seconds` and at least three times. `choose`:
    which of the times of an operation counts.
    """
    # A block that is timed over and over by itself finds its weights in the cache. In a step the other blocks have
    # displaced them, which costs a fifth of the time with micro-batches of 128 rows and 1024 columns.
    import torch

    from dfa_cli.devices.digital import Digital

    part, n = len(batch.y), len(model.blocks)
    times: dict[tuple[str, int], list[float]] = {}

    def wait() -> None:
        if compute.type == "cuda":
            torch.cuda.synchronize(compute)

    def timed(name: str, i: int, operation: Callable[[], Any]) -> Any:
        wait()
        started = time.perf_counter()
        result = operation()
        wait()
        times.setdefault((name, i), []).append(time.perf_counter() - started)
        return result

    inputs: list[Any] = [batch.x]
    with torch.no_grad():
        for block in model.blocks:
            inputs.append(block(inputs[-1], batch.graph))
    signals = [torch.randn_like(output) for output in inputs[1:]]
    error = torch.randn(part, classes, device=compute)
    devices = [Digital(where=compute.type) for _ in model.blocks[:-1]]
    for device, block in zip(devices, model.blocks, strict=False):
        device.prepare(classes, block.width, compute)

    def backward(i: int, output: Any, inputs_too: list[Any]) -> None:
        output.backward(signals[i], inputs=[*inputs_too, *model.blocks[i].parameters()])

    def step(name: str, with_inputs: bool) -> None:
        """Time the forward pass of each block, then the backward pass of each. `name`: of the backward passes."""
        leaves = [
            [h.detach().requires_grad_()] if with_inputs and i else [] for i, h in enumerate(inputs[:n])
        ]
        outputs = [
            timed("forward", i, functools.partial(block, *(leaves[i] or [inputs[i]]), batch.graph))
            for i, block in enumerate(model.blocks)
        ]
        for i in reversed(range(n)):
            if not added:
                model.blocks[i].zero_grad(set_to_none=True)
            timed(name, i, functools.partial(backward, i, outputs.pop(), leaves[i]))

    def all_operations() -> None:
        for i, device in enumerate(devices):
            timed("projection", i, functools.partial(device.project, error))
        step("weights", with_inputs=False)
        step("inputs and weights", with_inputs=True)

    all_operations()
    times.clear()  # first calls take longer
    started, rounds = time.perf_counter(), 0
    while rounds < 3 or time.perf_counter() - started < seconds:
        all_operations()
        rounds += 1
    model.zero_grad(set_to_none=True)

    def of_row(name: str, i: int) -> float:
        return choose(times[name, i]) / part

    return tuple(
        Block(
            forward=of_row("forward", i),
            inner=0.0,
            input_gradient=max(0.0, of_row("inputs and weights", i) - of_row("weights", i)) if i else 0.0,
            weight_gradient=of_row("weights", i),
            # Of the costs for one row, those of the rows that have an error are counted later.
            projection=of_row("projection", i) if i < n - 1 else 0.0,
            width=block.width,
            kept=float(((inputs[0].shape[1] if i == 0 else 0) + block.width) * value_bytes),
            parameters=sum(parameter.numel() for parameter in block.parameters()),
        )
        for i, block in enumerate(model.blocks)
    )


def _load(spec: RunSpec, compute: str = "cpu") -> Data:
    from dfa_cli.data.loading import load_data

    return load_data({**spec.config, "compute": compute}, spec.code.checksums)


def _strided() -> Any:
    import torch

    return torch.strided


def _rows(config: Mapping[str, Any], data: Data) -> int:
    if data.edge_index is not None:
        return len(data.y)
    return min(config["batch_size"] or len(data.train), len(data.train))


def _workload(
    spec: RunSpec, data: Data, blocks: tuple[Block, ...], value_bytes: int, measured: str | None = None
) -> Workload:
    rows = _rows(spec.config, data)
    optimizer = spec.config["optimizer"]
    # Weight and gradient, and as many numbers as the optimizer keeps for each weight.
    state = (1 if optimizer.get("momentum") else 0) if optimizer["_target_"].endswith(".SGD") else 2
    return Workload(
        f"{spec.choices.get('model')} on {spec.choices.get('data')}",
        blocks,
        rows=rows,
        classes=data.classes,
        features=data.x.shape[1],
        row="sample" if data.edge_index is None else "node",
        unit=1 if data.edge_index is None else rows,
        value_bytes=value_bytes,
        parameter_bytes=4 * (2 + state),
        measured=measured,
        labelled=1.0 if data.edge_index is None else len(data.train) / rows,
    )
