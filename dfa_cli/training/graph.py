"""Replays recorded training steps and evaluations, without Python, in place of computing them (`graph=auto`).

A record is used only after a trial in which two replayed calls gave the bits of two eager ones from the same state.
What cannot be recorded, or fails in the trial, runs as without this file, and the log of the run says why.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from dfa_cli.devices.base import Replayable
from dfa_cli.rules.base import KEEP
from dfa_cli.training.cuda_graphs import CudaGraphs, Recorder, Recording
from dfa_cli.training.run_state import Moment, RunState
from dfa_cli.training.setup import Experiment

log = logging.getLogger(__name__)
T = TypeVar("T")
U = TypeVar("U")

# Eager calls before a function is recorded. The first of them make the state of the optimizer, the handles of the
# libraries, and whatever is kept from call to call.
WARM_UP = 2


def recorder_for(device: torch.device) -> Recorder | None:
    """Return the recorder of a device; `None` for a device on which a record would save nothing."""
    return CudaGraphs() if device.type == "cuda" else None


def with_graphs(
    experiment: Experiment, step: Callable[..., T], sums: Sequence[Tensor], evaluate: Callable[[], U]
) -> tuple[Callable[..., T], Callable[[], U]]:
    """Return functions that do what a training step and an evaluation do, replayed once that has been tried.

    The step takes the rows of a batch, and adds to the tensors `sums`.
    """
    recorder = recorder_for(experiment.batches.y.device)
    if recorder is None:
        return step, evaluate
    if reason := obstacle(experiment):
        log.info("graph=auto: nothing is replayed, since %s", reason)
        return step, evaluate
    state = RunState(experiment, sums)
    return Replayed("training", step, state, recorder), Replayed("the evaluation", evaluate, state, recorder)


def obstacle(experiment: Experiment) -> str | None:
    """Say what keeps the steps of an experiment from being recorded, as far as this is known before they are tried."""
    device, optimizer = experiment.device, experiment.optimizer
    if not experiment.in_one_process:
        return "the run is divided among processes"
    if getattr(experiment.rule, "activations", KEEP) != KEEP:
        return "activations=recompute puts generators back within a step"
    if device is not None and not isinstance(device, Replayable):
        return f"{type(device).__name__} has no `counts` and no generators()"
    if not all(isinstance(group["lr"], Tensor) for group in optimizer.param_groups):
        return f"{type(optimizer).__name__} takes its learning rate from Python at each step"
    return None


class Replayed(Generic[T]):
    """Calls a function, and replays a record of it from its third call on.

    The record is of inputs with the shapes of the first call. Others, such as a smaller last batch, are computed
    eagerly. The next call overwrites the result.
    """

    def __init__(self, name: str, function: Callable[..., T], state: RunState, recorder: Recorder):
        self.name, self.function, self.state, self.recorder = name, function, state, recorder
        self.calls = 0
        self.recording: Recording[T] | None = None

    def __call__(self, *inputs: Tensor | None) -> T:
        shapes = [None if value is None else value.shape for value in inputs]
        if not self.calls:
            self.shapes = shapes
        if shapes != self.shapes:
            return self.function(*inputs)
        self.calls += 1
        if self.calls == WARM_UP + 1:
            self._try(inputs)
        if self.recording is not None and self.recorder.is_broken():
            self.recording = None
            log.info("graph=auto: %s is replayed no longer, since a later record has failed", self.name)
        return self.function(*inputs) if self.recording is None else self._replay(*inputs)

    def _try(self, inputs: Sequence[Tensor | None]) -> None:
        """Record the function, and keep the record if its replays are right. The run stays as it was."""
        before: Moment | None = None
        try:
            before = self.state.copy()
            expected = self._two_calls(self._eagerly, inputs)
            self.state.restore(before)
            self._record(inputs)
            self.state.restore(before)
            if not _equal(expected, self._two_calls(self._replay, inputs)):
                raise RuntimeError("a replayed call gave other numbers than an eager one")
            log.info("graph=auto: %s is replayed", self.name)
        except Exception as error:  # noqa: BLE001  (whatever happens here, the run goes on without a record)
            self.recording = None
            reason = error.__context__ or error  # When a capture fails, its end fails as well.
            first_line = str(reason).strip().partition("\n")[0]
            log.info("graph=auto: %s is not replayed (%s)", self.name, first_line or type(reason).__name__)
        finally:
            if before is not None:  # There may be no memory for a copy.
                self.state.restore(before)

    def _eagerly(self, *inputs: Tensor | None) -> T:
        with self.recorder.no_waiting():
            return self.function(*inputs)

    def _record(self, inputs: Sequence[Tensor | None]) -> None:
        self.inputs = [None if value is None else value.clone() for value in inputs]
        rows = self.state.counts.rows
        self.recording = self.recorder.record(lambda: self.function(*self.inputs), self.state.generators())
        self.rows = self.state.counts.rows - rows

    def _replay(self, *inputs: Tensor | None) -> T:
        assert self.recording is not None
        for own, given in zip(self.inputs, inputs, strict=True):
            if own is not None and given is not None:
                own.copy_(given)
        self.recording.replay()
        if self.rows:
            self.state.counts.rows += self.rows
            self.state.counts.seconds = math.nan
        return self.recording.output

    def _two_calls(self, call: Callable[..., T], inputs: Sequence[Tensor | None]) -> list[Any]:
        """Return the results and the states after a call, and after another with other inputs and learning rates.

        What a record has taken for constant, such as a number that Python had read, gives a second call away.
        """
        found: list[Any] = []
        for _ in range(2):
            output = call(*inputs)
            found += [tree_map(_clone, output), self.state.copy().numbers()]
            inputs = [None if value is None else value.flip(0) for value in inputs]
            for rate in self.state.rates():
                rate.mul_(0.5)
        return found


def _clone(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _equal(first: Any, second: Any) -> bool:
    pairs = zip(tree_leaves(first), tree_leaves(second), strict=True)
    return all(torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in pairs)
