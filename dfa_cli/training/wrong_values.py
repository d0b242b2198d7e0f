"""Finds out, after an exception, which layer, model or device has returned something that training cannot use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch import Tensor

from dfa_cli.config.own_errors import described, is_own_class, returned
from dfa_cli.devices.parts import ProjectsParts
from dfa_cli.errors import DfaError
from dfa_cli.models.base import Block, Model
from dfa_cli.rules import DirectFeedbackAlignment
from dfa_cli.rules.base import labelled_rows, loss_and_error
from dfa_cli.training.soundness import PROBE_ROWS

if TYPE_CHECKING:
    from dfa_cli.training.setup import Experiment


@contextlib.contextmanager
def wrong_values_told(experiment: Experiment) -> Iterator[None]:
    """Turn an exception into `DfaError` if a part of the experiment returns something else than it must.

    Its methods are called once more after the exception. So no step takes longer, and nothing that works is refused.
    """
    try:
        yield
    except DfaError:
        raise
    except Exception as error:
        sentence = None
        # A part that raises an exception returns nothing wrong. In several processes the parts are elsewhere.
        with contextlib.suppress(Exception):
            sentence = _wrong_value(experiment) if experiment.in_one_process else None
        if sentence is not None:
            raise DfaError(sentence) from error
        raise


def _wrong_value(experiment: Experiment) -> str | None:
    model, rule, device = experiment.model, experiment.rule, experiment.device
    batch, last = experiment.batches.sample(experiment.batches.size or PROBE_ROWS), model.blocks[-1]
    # A rule of the user's own may expect something else of the model in training, but evaluation does not.
    model.train(not is_own_class(type(rule)))
    if type(model).forward is not Model.forward:
        why = "the logits, with a row for each label and a column for each class"
        return _mistake(model, "forward", model(batch), len(batch.targets), last.width, why)
    h: Any = batch.x
    for number, block in enumerate(model.blocks, start=1):
        why = f"a row for each row of its input, and {block.width} columns, the width of block {number}"
        size = len(batch.y), block.width
        if type(block).forward is Block.forward:
            out = block.layer(block.dropout(h), batch.graph)
            if told := _mistake(block.layer, "forward", out, *size, why):
                return told
        h = block(h, batch.graph)
        if told := _mistake(block, "forward", h, *size, why):
            return told
    # A rule that prepares itself in a way of its own may project something of another size.
    if (
        device is None
        or not isinstance(rule, DirectFeedbackAlignment)
        or type(rule).prepare is not DirectFeedbackAlignment.prepare
        or not rule.slices
    ):
        return None
    _, error = loss_and_error(labelled_rows(h, batch), batch.targets)
    signal = rule.projected_signal(error, batch)
    why = "a row for each row of the error, and a column for each class"
    if told := _mistake(rule, "projected_signal", signal, len(error), error.shape[1], why):
        return told
    columns = max(part.stop for part in rule.slices)
    if isinstance(device, ProjectsParts):
        method, out = "project_parts", next(device.project_parts(signal, [(0, columns)]))
    else:
        method, out = "project", device.project(signal)
    return _mistake(
        device, method, out, len(signal), columns, "a row for each row of the error, and n_out columns"
    )


def _mistake(part: object, method: str, out: object, rows: int, columns: int, why: str) -> str | None:
    """Say what a method has returned and what it must return; `None` if it is a tensor of this size."""
    given = returned(out)
    if isinstance(out, Tensor):
        if out.dim() > 1 and (out.shape[0], out.shape[-1]) == (rows, columns) and out.is_floating_point():
            return None
        given = f"a tensor {list(out.shape)} of {str(out.dtype).removeprefix('torch.')}"
    return (
        f"{described(type(part))}: {method} returned {given}. It must return a floating-point tensor "
        f"[{rows}, {columns}] here: {why}."
    )
