"""The blocks of a configuration: their operations are counted, or they are timed on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from dfa_cli.config.auto import resolve_auto
from dfa_cli.config.spec import RunSpec
from dfa_cli.errors import DfaError
from dfa_cli.planner.costs import Block, Workload
from dfa_cli.planner.counting import fully_connected, graph_convolution

if TYPE_CHECKING:
    import torch

    from dfa_cli.data.base import Data
    from dfa_cli.models import Batch, Model

TIMED_SECONDS = 0.2  # for one operation of a block


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

    from dfa_cli.training.setup import build_experiment
    from dfa_cli.training.threads import process_threads

    config = resolve_auto(spec.config)
    config["threads"] = config["threads"] or max(1, process_threads() // stages)
    data = _load(spec, config["compute"])
    experiment = build_experiment(config, data)
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
    return _workload(spec, data, blocks, work.value_bytes, measured=True)


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
    micro-batch. An operation is repeated for so many `seconds`, at least three times. `choose`: which of its times
    counts.
    """
    import torch

    from dfa_cli.devices.digital import Digital

    def wait() -> None:
        if compute.type == "cuda":
            torch.cuda.synchronize(compute)

    def timed(operation: Callable[[], Any]) -> float:
        operation()  # the first call is not timed
        times: list[float] = []
        while len(times) < 3 or sum(times) < seconds:
            wait()
            started = time.perf_counter()
            operation()
            wait()
            times.append(time.perf_counter() - started)
        return choose(times)

    part = len(batch.y)
    error = torch.randn(part, classes, device=compute)
    blocks = []
    h: Any = batch.x
    for i, block in enumerate(model.blocks):
        parameters = list(block.parameters())
        last = i == len(model.blocks) - 1

        def gradients(of_input: bool, h: Any = h, block: Any = block, parameters: Any = parameters) -> float:
            leaf = h.detach().requires_grad_() if of_input else h
            out = block(leaf, batch.graph)
            signal = torch.randn_like(out)

            def backward() -> None:
                if of_input:
                    leaf.grad = None
                if not added:
                    block.zero_grad(set_to_none=True)
                out.backward(
                    signal, retain_graph=True, inputs=[leaf, *parameters] if of_input else parameters
                )

            return timed(backward)

        forward = timed(lambda h=h, block=block: block(h, batch.graph))
        weights = gradients(False)
        projection = 0.0
        if not last:
            device = Digital(where=compute.type)
            device.prepare(classes, block.width, compute)
            # Of the costs for one row, those of the rows that have an error are counted later.
            projection = timed(lambda device=device: device.project(error))
        inputs = 0.0 if i == 0 else max(0.0, gradients(True) - weights)
        block.zero_grad(set_to_none=True)
        columns = (h.shape[1] if i == 0 else 0) + block.width
        blocks.append(
            Block(
                forward / part,
                0.0,
                inputs / part,
                weights / part,
                projection / part,
                block.width,
                float(columns * value_bytes),
                sum(parameter.numel() for parameter in parameters),
            )
        )
        with torch.no_grad():
            h = block(h, batch.graph)
    return tuple(blocks)


def _load(spec: RunSpec, compute: str = "cpu") -> Data:
    from dfa_cli.data.loading import load_data

    return load_data({**spec.config, "compute": compute}, spec.code.sums)


def _strided() -> Any:
    import torch

    return torch.strided


def _rows(config: Mapping[str, Any], data: Data) -> int:
    if data.edge_index is not None:
        return len(data.y)
    return min(config["batch_size"] or len(data.train), len(data.train))


def _workload(
    spec: RunSpec, data: Data, blocks: tuple[Block, ...], value_bytes: int, measured: bool = False
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
