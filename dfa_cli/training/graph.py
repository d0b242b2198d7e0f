"""Records what a training step and an evaluation do to tensors, and replays it without Python (`graph=auto`).

On CUDA a record is a CUDA graph: one launch in place of some hundred. A record is used only after a trial, from the
same state, in which two replayed calls gave the bits of two eager ones. What cannot be recorded, or fails in the trial,
runs as without this file, and the log of the run says why.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from dfa_cli.devices.base import Counts, Replayable
from dfa_cli.models.forward_state import generators as generators_of
from dfa_cli.rules.base import KEEP, HasGenerators, Stateful
from dfa_cli.training.setup import Experiment

log = logging.getLogger(__name__)
T = TypeVar("T")
U = TypeVar("U")

# Eager calls before a function is recorded. The first of them make the state of the optimizer, the handles of the
# libraries, and whatever is kept from call to call.
WARM_UP = 2
MEASURED = "seconds"  # the entry of a device's state in which equal steps differ


@dataclass
class Recording(Generic[T]):
    """What a function has done to tensors.

    `replay` does it again, in the same memory, and leaves the results in `output`. `inputs` are the tensors from
    outside that the function has used: a graph knows only addresses, so they must not be freed.
    """

    output: T
    replay: Callable[[], None]
    inputs: Sequence[Tensor]


class Recorder(Protocol):
    """Records functions without arguments."""

    def no_waiting(self) -> AbstractContextManager[None]:
        """Raise an error within the `with` block where Python would wait for a number of the accelerator."""
        ...

    def record(self, function: Callable[[], T], generators: Sequence[torch.Generator]) -> Recording[T]:
        """Record the function, which may run for this. A replay draws on from where the `generators` then are."""
        ...


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


@dataclass(frozen=True)
class Moment:
    """A copy of everything that a training step changes."""

    tensors: list[Tensor]
    generators: list[Tensor]
    parts: list[dict[str, Tensor]]

    def numbers(self) -> list[Any]:
        """Return what equal steps leave equal: everything but the time that a device has taken."""
        parts = [{name: value for name, value in part.items() if name != MEASURED} for part in self.parts]
        return [self.tensors, self.generators, parts]


class RunState:
    """The state of a run between two steps. It is copied, and put back into the same tensors and generators."""

    def __init__(self, experiment: Experiment, sums: Sequence[Tensor]):
        self.experiment, self.sums = experiment, sums
        found = (experiment.device, experiment.rule)
        self.parts = [part for part in found if isinstance(part, Stateful)]
        self.counts = experiment.device.counts if isinstance(experiment.device, Replayable) else Counts()

    def rates(self) -> list[Tensor]:
        return [group["lr"] for group in self.experiment.optimizer.param_groups]

    def tensors(self) -> list[Tensor]:
        model, optimizer = self.experiment.model, self.experiment.optimizer
        slots = [value for slots in optimizer.state.values() for value in slots.values()]
        found = [*model.parameters(), *model.buffers(), *slots, *self.rates(), *self.sums]
        return [tensor for tensor in found if isinstance(tensor, Tensor)]

    def generators(self) -> list[torch.Generator]:
        """Return all from which a step may draw, torch's global ones included."""
        device, rule = self.experiment.device, self.experiment.rule
        found = [torch.default_generator, *generators_of(self.experiment.model).values()]
        if self.experiment.batches.y.device.type == "cuda":
            found.append(torch.cuda.default_generators[torch.cuda.current_device()])
        if isinstance(device, Replayable):
            found += device.generators()
        if isinstance(rule, HasGenerators):
            found += rule.generators()
        return found

    @torch.no_grad()
    def copy(self) -> Moment:
        return Moment(
            [tensor.clone() for tensor in self.tensors()],
            [generator.get_state() for generator in self.generators()],
            [{name: value.clone() for name, value in part.state_dict().items()} for part in self.parts],
        )

    @torch.no_grad()
    def restore(self, moment: Moment) -> None:
        for tensor, value in zip(self.tensors(), moment.tensors, strict=True):
            tensor.copy_(value)
        for part, values in zip(self.parts, moment.parts, strict=True):
            part.load_state_dict(values)
        for generator, value in zip(self.generators(), moment.generators, strict=True):
            generator.set_state(value)


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
        return self.function(*inputs) if self.recording is None else self._replay(*inputs)

    def _try(self, inputs: Sequence[Tensor | None]) -> None:
        """Record the function, and keep the record if its replays are right. The run stays as it was."""
        before = self.state.copy()
        try:
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


class CudaGraphs:
    """Records CUDA graphs."""

    # A capture that failed leaves torch's allocator behind with an address of its graph.
    failed: ClassVar[list[torch.cuda.CUDAGraph]] = []

    @contextmanager
    def no_waiting(self) -> Iterator[None]:
        mode = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*debug mode is a prototype")
            torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(mode)

    def record(self, function: Callable[[], T], generators: Sequence[torch.Generator]) -> Recording[T]:
        if self.failed:
            raise RuntimeError("an earlier capture has failed in this process")
        graph, used, stream = torch.cuda.CUDAGraph(), Used(), torch.cuda.current_stream()
        drawn = [generator for generator in generators if generator.device.type == "cuda"]
        for generator in drawn:
            graph.register_generator_state(generator)
        try:
            with torch.cuda.graph(graph), used:
                output = function()
        except BaseException:
            self.failed.append(graph)
            torch.cuda.set_stream(stream)
            for generator in drawn:  # Each would wait for the end of the capture for ever.
                generator.graphsafe_set_state(torch.Generator(generator.device))
            raise
        return Recording(output, graph.replay, used.tensors)


class Used(TorchDispatchMode):
    """Collects, within a `with` block, the tensors from outside the block that are used."""

    def __init__(self) -> None:
        super().__init__()
        self.tensors: list[Tensor] = []
        self._known: set[int] = set()  # the memory of these tensors, and of those that were made in the block

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for memory, tensor in _memories((args, kwargs)):
            if memory not in self._known:
                self.tensors.append(tensor)
                self._known.add(memory)
        out = operator(*args, **(kwargs or {}))
        self._known.update(memory for memory, _ in _memories(out))
        return out


def _memories(values: Any) -> Iterator[tuple[int, Tensor]]:
    for value in tree_leaves(values):
        if isinstance(value, Tensor):
            is_csr = value.layout == torch.sparse_csr
            parts = (value.crow_indices(), value.col_indices(), value.values()) if is_csr else (value,)
            yield from ((part.untyped_storage()._cdata, part) for part in parts)


def _clone(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _equal(first: Any, second: Any) -> bool:
    pairs = zip(tree_leaves(first), tree_leaves(second), strict=True)
    return all(torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in pairs)
