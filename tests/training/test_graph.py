"""`graph=auto`: recorded steps give the bits of eager ones, and what cannot be recorded runs without a record.

There is no card here: the operations are recorded and replayed on the CPU (`tape.py`).
"""

from __future__ import annotations

import functools
import gc
import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, TypeVar

import pytest
import torch
from program import Dfa, interrupted_in_epoch
from tape import CpuGraphs
from torch import Tensor
from torch.torch_version import TorchVersion

from dfa_cli.config.auto import resolve_auto
from dfa_cli.config.compose import compose_run
from dfa_cli.config.instantiate import build
from dfa_cli.data.base import Data
from dfa_cli.data.source import Source
from dfa_cli.devices import Digital
from dfa_cli.models.base import Model
from dfa_cli.models.batch import Batch
from dfa_cli.rules import DirectFeedbackAlignment, LearningRule, Step
from dfa_cli.training import graph
from dfa_cli.training.cuda_graphs import CudaGraphs, Recording, Used
from dfa_cli.training.graph import obstacle
from dfa_cli.training.loop import Epoch, LoopSettings, train
from dfa_cli.training.run_state import RunState
from dfa_cli.training.setup import Experiment, build_experiment

T = TypeVar("T")

# 1,000 rows in batches of 300: the last batch of an epoch is smaller, and runs eagerly.
ROWS = (
    "data=digits",
    "model.hidden=[16,12]",
    "model.dropout=0.3",
    "model.input_dropout=0.2",
    "batch_size=300",
)
GRAPH = ("data=digits_graph", "model=gcn", "model.hidden=[12]", "device=cpu")
OPTICS = (*ROWS, "rule=dfa", "device=opu_sim")
REPLAYED: dict[str, tuple[str, ...]] = {
    **{f"rows, {rule}": (*ROWS, f"rule={rule}", "device=cpu") for rule in ("bp", "dfa", "drtp", "shallow")},
    **{f"rows, {rule}": (*ROWS, f"rule={rule}") for rule in ("fa", "usf", "brsf", "frsf")},
    "rows, all at once": (*ROWS, "rule=dfa", "device=cpu", "batch_size=null"),
    "rows, hidden blocks computed once": (
        "data=digits",
        "model.hidden=[16]",
        "rule=shallow",
        "batch_size=300",
    ),
    "rows, sgd": (*ROWS, "rule=dfa", "device=cpu", "optimizer=sgd"),
    "rows, adamw": (*ROWS, "rule=bp", "optimizer=adamw", "weight_decay_on=hidden"),
    "graph, bp": (*GRAPH, "rule=bp"),
    "graph, dfa": (*GRAPH, "rule=dfa", "rule.spread_over_edges=true"),
    "graph, brsf, sgd": (*GRAPH, "rule=brsf", "optimizer=sgd"),
    "graph, sage": ("data=digits_graph", "model=sage", "model.hidden=[12]", "rule=dfa", "device=cpu"),
    "optics": OPTICS,
    "optics, off-axis": (*OPTICS, "device/readout=off_axis"),
    "optics, phase-shifting": (*ROWS, "rule=dfa", "device=opu_phase_shifting"),
    "optics, intensity": (*ROWS, "rule=dfa", "device=opu_lighton"),
    "optics, without the sum": (*OPTICS, "device/encoding=ternary", "device.remove_sum=true"),
    "optics, bit planes": (*OPTICS, "device/encoding=bitplanes", "device/medium=structured"),
}
EAGER: dict[str, tuple[tuple[str, ...], str]] = {
    "gat": (
        ("data=digits_graph", "model=gat", "rule=dfa", "device=cpu"),
        "training is not replayed (index waits",
    ),
    "drift": ((*OPTICS, "device/drift=medium"), "training is not replayed (_local_scalar_dense waits"),
    "a medium that looks for lit inputs": (
        (*OPTICS, "device/medium=procedural"),
        "training is not replayed (nonzero waits",
    ),
    "recompute": (
        (*ROWS, "rule=dfa", "device=cpu", "activations=recompute"),
        "nothing is replayed, since activations=recompute puts generators back within a step",
    ),
    "another optimizer": (
        (*ROWS, "rule=bp", "optimizer._target_=torch.optim.RMSprop", "~optimizer.fused"),
        "nothing is replayed, since RMSprop takes its learning rate from Python at each step",
    ),
}
EPOCHS = 4


@functools.cache
def data(name: str) -> Data:
    return build(compose_run([f"data={name}"]).config["data"]).load(Source(None, network=False))


def parts(*words: str) -> Experiment:
    config = resolve_auto(compose_run([*words, "threads=1", "compute=cpu"]).config)
    return build_experiment(config, data(words[0].removeprefix("data=")))


def untimed(epoch: Epoch) -> Epoch:
    cost = None if epoch.cost is None else replace(epoch.cost, measured_seconds=None)
    return replace(epoch, seconds=0.0, cost=cost)


def trained(made: Experiment, how: str) -> tuple[list[Epoch], list[Tensor], Any]:
    settings = LoopSettings(EPOCHS, schedule="linear", alignment_every=3, graph=how)
    epochs = [untimed(epoch) for epoch in train(made, settings)]
    return epochs, list(made.model.parameters()), made.cost()


def assert_equal(made: Experiment, eager: Experiment) -> Any:
    """Train both, one with records, and compare everything that a run leaves. Returns the cost of the first."""
    epochs, weights, cost = trained(made, "auto")
    same_epochs, same_weights, same_cost = trained(eager, "off")
    assert epochs == same_epochs
    assert all(map(torch.equal, weights, same_weights))
    if cost:
        assert replace(cost, measured_seconds=0.0) == replace(same_cost, measured_seconds=0.0)
        assert same_cost.measured_seconds > 0
    for name, generator in made.generators.items():
        assert torch.equal(generator.get_state(), eager.generators[name].get_state()), name
    return cost


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> CpuGraphs:
    """Let every tensor say that it lies on a card, so that the code takes the way of CUDA, with CPU graphs."""
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    monkeypatch.setattr(torch.Tensor, "is_cpu", False)
    recorder = CpuGraphs()
    monkeypatch.setattr(graph, "recorder_for", lambda device: recorder)
    return recorder


@pytest.fixture(autouse=True)
def _lines_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


@pytest.mark.parametrize("words", REPLAYED.values(), ids=REPLAYED)
def test_a_replayed_run_has_the_bits_of_an_eager_one(
    card: CpuGraphs, words: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    cost = assert_equal(parts(*words), parts(*words))
    assert [line for line in caplog.messages if "graph=auto" in line] == [
        "graph=auto: training is replayed",
        "graph=auto: the evaluation is replayed",
    ]
    if cost:
        assert cost.measured_seconds is None


@pytest.mark.parametrize(("words", "line"), EAGER.values(), ids=EAGER)
def test_what_cannot_be_replayed_runs_eagerly_and_says_so(
    card: CpuGraphs, words: tuple[str, ...], line: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert_equal(parts(*words), parts(*words))
    assert any(line in message for message in caplog.messages), caplog.messages


def test_on_a_cpu_auto_means_off_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    words = (*ROWS, "rule=dfa", "device=cpu")
    cost = assert_equal(parts(*words), parts(*words))
    assert cost.measured_seconds > 0
    assert "graph" not in caplog.text


class CountsInPython(DirectFeedbackAlignment):
    """Makes every other gradient twice as large."""

    steps = 0

    def backward(self, model: Model, batch: Batch) -> Step:
        self.steps += 1
        step = super().backward(model, batch)
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter.grad.mul_(1.0 + self.steps % 2)
        return step


class DrawsInSecret(DirectFeedbackAlignment):
    """Draws from a generator that no part of the run knows."""

    def __init__(self) -> None:
        super().__init__()
        self.draws = torch.Generator().manual_seed(0)

    def backward(self, model: Model, batch: Batch) -> Step:
        step = super().backward(model, batch)
        for parameter in model.parameters():
            assert parameter.grad is not None
            parameter.grad.add_(torch.randn(parameter.shape, generator=self.draws) * 1e-3)
        return step


class MovesAState(DirectFeedbackAlignment):
    """Keeps a mean of the error, a new tensor in each step."""

    mean = torch.zeros(10)

    def backward(self, model: Model, batch: Batch) -> Step:
        step = super().backward(model, batch)
        *_, bias = model.parameters()
        assert bias.grad is not None
        self.mean = 0.9 * self.mean + 0.1 * bias.grad
        bias.grad.copy_(self.mean)
        return step

    def state_dict(self) -> dict[str, Tensor]:
        return {"mean": self.mean}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.mean = state["mean"].clone()


def with_rule(rule: LearningRule) -> Experiment:
    made = parts(*ROWS, "rule=dfa", "device=cpu")
    assert made.device is not None
    rule.prepare(made.model, 10, made.device, torch.device("cpu"))
    return replace(made, rule=rule)


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (CountsInPython, "other numbers than an eager one"),
        (DrawsInSecret, "a generator is not registered"),
        (MovesAState, "other numbers than an eager one"),
    ],
)
def test_a_trial_finds_what_a_record_would_do_wrong(
    card: CpuGraphs, rule: type[LearningRule], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A trial repeats steps. What no state holds (a count in Python, a generator in secret) goes on meanwhile."""
    epochs, _, _ = trained(with_rule(rule()), "auto")
    assert len(epochs) == EPOCHS
    assert "training is not replayed" in caplog.text
    assert why in caplog.text
    assert "the evaluation is replayed" in caplog.text
    if rule is MovesAState:
        assert_equal(with_rule(rule()), with_rule(rule()))


def test_a_record_that_fails_halfway_leaves_the_run_alone(
    card: CpuGraphs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(function: Callable[[], T], generators: Any) -> Recording[T]:
        function()
        raise RuntimeError("operation failed\nand more")

    monkeypatch.setattr(card, "record", fail)
    cost = assert_equal(parts(*OPTICS), parts(*OPTICS))
    assert cost.measured_seconds > 0
    assert "graph=auto: training is not replayed (operation failed)" in caplog.messages


def test_after_a_record_that_fails_no_earlier_one_is_replayed(
    card: CpuGraphs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A capture that fails leaves generators behind with which the replay of an earlier graph would raise an error."""
    record = card.record

    def second_fails(function: Callable[[], T], generators: Any) -> Recording[T]:
        if "graph=auto: training is replayed" not in caplog.messages:
            recording = record(function, generators)
            replay = recording.replay
            recording.replay = lambda: fail() if card.broken else replay()
            return recording
        card.broken = True
        return fail()

    def fail() -> Any:
        raise RuntimeError("the generators are still in a capture")

    monkeypatch.setattr(card, "record", second_fails)
    assert_equal(parts(*OPTICS), parts(*OPTICS))
    assert "graph=auto: training is replayed no longer, since a later record has failed" in caplog.messages


def test_without_memory_for_a_trial_the_run_goes_on(
    card: CpuGraphs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def copy(self: RunState) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(RunState, "copy", copy)
    assert_equal(parts(*OPTICS), parts(*OPTICS))
    assert "graph=auto: training is not replayed (CUDA out of memory)" in caplog.messages


@pytest.mark.parametrize("version", ["2.11.0+cu130", "2.14.0"])
@pytest.mark.parametrize("fails", [False, True])
def test_a_capture_knows_its_generators_and_frees_no_earlier_graph(
    version: str, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No generator is registered from torch 2.14 on, which warns of it past Python's filters. No card is needed."""

    class Graph:
        def __init__(self) -> None:
            self.registered: list[Any] = []
            self.register_generator_state = self.registered.append

        def replay(self) -> None: ...

    class Generator:
        device = torch.device("cuda")

        def graphsafe_set_state(self, other: Any) -> None:
            self.state = other

    monkeypatch.setattr(torch, "__version__", TorchVersion(version))
    monkeypatch.setattr(torch, "Generator", lambda device: "fresh")
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: None)
    monkeypatch.setattr(torch.cuda, "set_stream", lambda stream: None)
    monkeypatch.setattr(CudaGraphs, "failed", [])
    drawn, other = Generator(), torch.default_generator
    collects = []

    def function() -> None:
        collects.append(gc.isenabled())
        if fails:
            raise RuntimeError("operation not permitted")

    with pytest.raises(RuntimeError, match="not permitted") if fails else nullcontext():
        recording = CudaGraphs().record(function, [drawn, other])  # pyright: ignore[reportArgumentType]
        registered = recording.replay.__self__.registered  # pyright: ignore[reportFunctionMemberAccess]
        assert registered == ([drawn] if version.startswith("2.11") else [])
    assert collects == [False]
    assert gc.isenabled()
    assert len(CudaGraphs.failed) == fails
    assert getattr(drawn, "state", None) == ("fresh" if fails else None)


def test_a_device_without_generators_is_not_recorded(card: CpuGraphs) -> None:
    class Own(Digital):
        generators = None  # type: ignore[assignment]

    made = parts(*ROWS, "rule=dfa", "device=cpu")
    assert obstacle(made) is None
    own = Own("cpu")
    del own.counts
    assert obstacle(replace(made, device=own)) == "Own has no `counts` and no generators()"


@pytest.mark.parametrize(
    "words",
    [(*OPTICS, "optimizer=sgd"), (*GRAPH, "rule=brsf"), (*ROWS, "rule=bp")],
    ids=["optics", "graph", "bp"],
)
def test_a_replayed_run_is_resumed_where_it_stopped(
    dfa: Dfa, card: CpuGraphs, words: tuple[str, ...]
) -> None:
    common = [*words, "epochs=7", "schedule=cosine", "progress=none"]
    eager = dfa.run(*common, "graph=off")
    before = set(dfa.folders())
    with interrupted_in_epoch(6):
        assert dfa.train(*common, "graph=auto", "checkpoint_every=4").code == 130
    (run,) = [run for run in dfa.runs() if run.folder not in before]
    assert dfa("resume", run.record["id"], str(dfa.outputs)).code == 0
    assert run.repeatable == eager.repeatable
    assert run.weights == eager.weights
    assert run.record["identity"] == eager.record["identity"]
    assert run.log.count("graph=auto: training is replayed") == 2
    if projection := run.record["projection"]:
        assert projection["measured_seconds"] is None
        assert projection["rows"] == eager.record["projection"]["rows"]


def test_what_a_record_reads_is_kept_and_what_it_makes_is_not() -> None:
    outside, other, sparse = torch.ones(3), torch.ones(3), torch.eye(2).to_sparse_csr()
    with Used() as used:
        made = (outside[1:] + 1).mul_(2)
        made.add_(other[1:])
        made = sparse.to_sparse_coo() @ made[:, None]
        outside.neg_()
    read = (outside, other, sparse.crow_indices(), sparse.col_indices(), sparse.values())
    assert {memory(tensor) for tensor in used.tensors} == {memory(tensor) for tensor in read}


def memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def test_no_device_but_cuda_has_a_recorder() -> None:
    assert graph.recorder_for(torch.device("cpu")) is graph.recorder_for(torch.device("mps")) is None
    assert isinstance(graph.recorder_for(torch.device("cuda")), CudaGraphs)
