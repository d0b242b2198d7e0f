"""On CUDA the numbers are those of the CPU, and no step makes the CPU wait for the accelerator."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from dfa_cli.config.auto import resolve_auto
from dfa_cli.config.compose import compose_run
from dfa_cli.config.instantiate import build
from dfa_cli.data.source import Source
from dfa_cli.training.evaluation import Evaluation
from dfa_cli.training.loop import LoopSettings, train, train_epoch
from dfa_cli.training.setup import Experiment, build_experiment

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device here")

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
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*debug mode is a prototype")
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("words", RULES.values(), ids=RULES)
@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
def test_an_epoch_and_its_evaluation_never_wait(data: tuple[str, ...], words: tuple[str, ...]) -> None:
    made = parts("cuda", *data, *words)

    def epoch() -> None:
        train_epoch(made.model, made.rule, made.optimizer, made.batches)
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
