"""On CUDA the numbers are those of the CPU, and no step makes the CPU wait for the accelerator."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dfa_cli.config.auto import resolve_auto
from dfa_cli.config.compose import compose_run
from dfa_cli.config.instantiate import build
from dfa_cli.data.source import Source
from dfa_cli.training.checkpoint import load_checkpoint, save_checkpoint
from dfa_cli.training.cuda_graphs import CudaGraphs
from dfa_cli.training.evaluation import Evaluation
from dfa_cli.training.loop import Epoch, History, LoopSettings, TrainingStep, train, train_epoch
from dfa_cli.training.setup import Experiment, build_experiment

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here")

KEPT: list[torch.cuda.CUDAGraph] = []  # torch's allocator has their addresses


@pytest.fixture(autouse=True)
def _each_test_may_capture() -> Iterator[None]:
    """Let a capture that fails fail one test, and not all that follow."""
    yield
    KEPT.extend(CudaGraphs.failed)
    CudaGraphs.failed.clear()


DATA = {
    "samples": ("data=digits", "model.hidden=[64,64]", "batch_size=64"),
    "graph": ("data=digits_graph", "model=gcn"),
}
RULES = {
    "bp": ("rule=bp", "device=gpu"),
    "dfa": ("rule=dfa", "device=gpu"),
    "dfa, optics": ("rule=dfa", "device=opu_sim"),
    "dfa, optics by fringes": ("rule=dfa", "device=opu_sim", "device/readout=off_axis"),
    "shallow": ("rule=shallow", "device=gpu"),
    "bf16": ("rule=dfa", "device=gpu", "precision=bf16"),
}


def parts(compute: str, *words: str) -> Experiment:
    job = compose_run([*words, f"compute={compute}"])
    config = resolve_auto(job.config)
    data = build(config["data"]).load(Source(None, network=False))
    return build_experiment(config, data.to(torch.device(compute)))


@contextmanager
def waiting_is_an_error() -> Iterator[None]:
    torch.cuda.synchronize()
    with CudaGraphs().no_waiting():
        yield


@pytest.mark.parametrize("words", RULES.values(), ids=RULES)
@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_an_epoch_and_its_evaluation_never_wait(data: tuple[str, ...], words: tuple[str, ...]) -> None:
    made = parts("cuda", *data, *words)

    step = TrainingStep(made.model, made.rule, made.optimizer, made.batches)

    def epoch() -> None:
        train_epoch(step, made.batches, step.sums)
        Evaluation(made.model, made.batches, made.validation, made.test)()

    epoch()  # The first epoch makes the handles of the libraries, the adjacency and the state of the optimizer.
    with waiting_is_an_error():
        epoch()


@pytest.mark.parametrize("words", [("rule=bp", "device=cpu"), ("rule=dfa", "device=cpu")], ids=["bp", "dfa"])
@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_the_numbers_are_those_of_the_cpu(data: tuple[str, ...], words: tuple[str, ...]) -> None:
    still = ("model.dropout=0", "model.input_dropout=0")
    here = list(train(parts("cpu", *data, *words, *still), LoopSettings(3)))
    there = list(train(parts("cuda", *data, *words, *still), LoopSettings(3)))
    for a, b in zip(here, there, strict=True):
        assert b.train_loss == pytest.approx(a.train_loss, rel=1e-3)
        assert b.test_accuracy == pytest.approx(a.test_accuracy, abs=0.02)


@pytest.mark.parametrize("rule", ["bp", "dfa"])
@pytest.mark.parametrize("model", ["fc", "gcn", "gat", "cheb", "sage"])
def test_equal_seeds_give_equal_bits(model: str, rule: str) -> None:
    words = f"model={model}", "data=digits_graph", f"rule={rule}", "device=gpu"
    ends = []
    for _ in range(3):
        made = parts("cuda", *words)
        for _ in train(made, LoopSettings(10)):
            pass
        ends.append([parameter.detach().clone() for parameter in made.model.parameters()])
    for end in ends[1:]:
        assert all(map(torch.equal, end, ends[0]))


REPLAYED = {
    **{f"samples, {name}": (*DATA["samples"], *words) for name, words in RULES.items()},
    **{f"graph, {name}": (*DATA["graph"], *words) for name, words in RULES.items()},
    **{
        f"samples, {rule}": (*DATA["samples"], f"rule={rule}")
        for rule in ("drtp", "fa", "usf", "brsf", "frsf")
    },
    "graph, brsf": (*DATA["graph"], "rule=brsf"),
    "samples, dropout": (*DATA["samples"], "rule=dfa", "model.dropout=0.3", "model.input_dropout=0.2"),
    "samples, sgd": (*DATA["samples"], "rule=dfa", "optimizer=sgd"),
    "samples, adam that is not fused": (*DATA["samples"], "rule=dfa", "optimizer.fused=false"),
    "samples, tf32": (*DATA["samples"], "rule=dfa", "precision=tf32"),
    "samples, phase-shifting": (*DATA["samples"], "rule=dfa", "device=opu_phase_shifting"),
    "samples, intensity": (*DATA["samples"], "rule=dfa", "device=opu_lighton"),
    "samples, without the sum": (*DATA["samples"], "device=opu_sim", "device.remove_sum=true"),
    "samples, summed fringes": (
        *DATA["samples"],
        "device=opu_sim",
        "device/readout=off_axis",
        "device.readout.demodulation=local",
    ),
    "samples, bit planes": (*DATA["samples"], "device=opu_sim", "device/encoding=bitplanes"),
}
SETTINGS = LoopSettings(6, schedule="linear", alignment_every=4)


def untimed(epoch: Epoch) -> Epoch:
    cost = None if epoch.cost is None else replace(epoch.cost, measured_seconds=None)
    return replace(epoch, seconds=0.0, cost=cost)


def trained(made: Experiment, how: str) -> tuple[list, list[torch.Tensor], object]:
    epochs = [untimed(epoch) for epoch in train(made, replace(SETTINGS, graph=how))]
    cost = made.cost()
    return epochs, list(made.model.parameters()), cost and replace(cost, measured_seconds=None)


def require_the_bits_of_eager_steps(words: tuple[str, ...]) -> None:
    """Train with `graph=auto` and without graphs: metrics, weights and costs must be equal."""
    (epochs, weights, cost), eager = (trained(parts("cuda", *words), how) for how in ("auto", "off"))
    assert epochs == eager[0]
    assert all(map(torch.equal, weights, eager[1]))
    assert cost == eager[2]


@pytest.mark.parametrize("words", REPLAYED.values(), ids=REPLAYED)
def test_a_graph_has_the_bits_of_eager_steps(
    words: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    require_the_bits_of_eager_steps(words)
    assert "graph=auto: training is replayed" in caplog.messages
    assert "graph=auto: the evaluation is replayed" in caplog.messages


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("data=digits_graph", "model=gat", "rule=dfa"), "training is not replayed"),
        ((*DATA["samples"], "device=opu_sim", "device/drift=medium"), "training is not replayed"),
        ((*DATA["samples"], "rule=dfa", "activations=recompute"), "nothing is replayed"),
    ],
    ids=["gat", "drift", "recompute"],
)
def test_what_cannot_be_captured_runs_eagerly(
    words: tuple[str, ...], line: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Dropout draws on after a trial, and what cannot be captured does not spoil later captures."""
    caplog.set_level(logging.INFO)
    made = parts("cuda", *words)
    assert len(list(train(made, replace(SETTINGS, graph="auto")))) == SETTINGS.epochs
    assert line in caplog.text
    assert not CudaGraphs.failed


@pytest.mark.parametrize(
    "words",
    [
        ("rule=dfa", "device=opu_sim", "model.dropout=0.3"),
        ("rule=brsf", "optimizer=sgd", "model.dropout=0.3"),
    ],
    ids=["optics", "brsf"],
)
def test_a_run_with_graphs_is_resumed_where_it_stopped(words: tuple[str, ...], tmp_path: Path) -> None:
    words = (*DATA["samples"], *words)
    _, weights, _ = trained(parts("cuda", *words), "off")
    settings = replace(SETTINGS, graph="auto")
    first = parts("cuda", *words)
    history = History()
    for epoch in train(first, settings):
        history = history.after(epoch.epoch, epoch.validation_accuracy, epoch.validation_loss, epoch.seconds)
        if epoch.epoch == 4:
            save_checkpoint(tmp_path, epoch.epoch, first)
            break
    second = parts("cuda", *words)
    assert load_checkpoint(tmp_path, second) == 4
    for _ in train(second, settings, history):
        pass
    assert all(map(torch.equal, second.model.parameters(), weights))


def test_the_training_goes_on_when_the_capture_of_the_evaluation_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(CudaGraphs, "no_waiting", lambda self: nullcontext())
    plain = Evaluation._of_samples

    def waits(self: Evaluation) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        found = plain(self)
        found[0].item()
        return found

    monkeypatch.setattr(Evaluation, "_of_samples", waits)
    words = (*DATA["samples"], "device=opu_sim", "model.dropout=0.3")
    require_the_bits_of_eager_steps(words)
    assert "graph=auto: training is replayed no longer, since a later record has failed" in caplog.messages


def test_a_capture_that_fails_leaves_the_run_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The step waits for the card, and nothing has found this out before the capture."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(CudaGraphs, "no_waiting", lambda self: nullcontext())
    words = (*DATA["samples"], "device=opu_sim", "device/drift=medium", "model.dropout=0.3")
    require_the_bits_of_eager_steps(words)
    assert "training is not replayed" in caplog.text
