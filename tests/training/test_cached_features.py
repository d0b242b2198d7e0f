"""Training on cached outputs of hidden blocks gives the numbers of computing them in every step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from program import Dfa

from dfa_cli.config.auto import resolve_auto
from dfa_cli.config.compose import compose_run
from dfa_cli.config.instantiate import build
from dfa_cli.data.source import Source
from dfa_cli.models.base import Block
from dfa_cli.training import cached_features
from dfa_cli.training.cached_features import cache_hidden_features
from dfa_cli.training.loop import LoopSettings, train
from dfa_cli.training.setup import Experiment, build_experiment
from dfa_cli.training.weights import load_tensors

FC = ("data=digits", "batch_size=64", "model.hidden=[32,20]")
GCN = ("model=gcn", "data=digits_graph", "model.hidden=[24]")
CACHED = {
    "samples": FC,
    "all rows at once": (*FC, "batch_size=null"),
    "one hidden block, dropout after it": (*FC, "model.hidden=[32]", "model.dropout=0.3"),
    "graph": (*GCN, "model.input_dropout=0", "model.dropout=0"),
    "graph, dropout after the hidden block": (*GCN, "model.input_dropout=0"),
    "node features without the edges": ("data=digits_graph", "model=fc", "model.hidden=[24]"),
}
NOT_CACHED = {
    "dropout of the input": (*FC, "model.input_dropout=0.1"),
    "dropout between hidden blocks": (*FC, "model.dropout=0.1"),
    "layers that may draw": ("model=gat", "data=digits_graph", "model.input_dropout=0", "model.dropout=0"),
}


@pytest.fixture(autouse=True)
def _restore_torch_state() -> Any:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    yield
    torch.set_num_threads(threads)
    torch.set_rng_state(state)


def parts(*words: str, rule: str = "shallow") -> Experiment:
    job = compose_run([*words, f"rule={rule}", "threads=1"])
    config = resolve_auto(job.config)
    return build_experiment(config, build(config["data"]).load(Source(None, network=False)))


def is_cached(made: Experiment) -> bool:
    model, batches = cache_hidden_features(made.model, made.rule, made.batches)
    assert (model is made.model) == (batches is made.batches)
    return model is not made.model


@pytest.mark.parametrize("words", CACHED.values(), ids=CACHED)
def test_metrics_and_weights_are_those_without_the_cache(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = parts(*words)
    assert is_cached(short)
    fast = list(train(short, LoopSettings(4)))
    monkeypatch.setattr(cached_features, "MAX_BYTES", 0)
    plain = parts(*words)
    assert not is_cached(plain)
    for a, b in zip(fast, train(plain, LoopSettings(4)), strict=True):
        assert a.train_loss == pytest.approx(b.train_loss, rel=1e-5)
        assert a.validation_loss == pytest.approx(b.validation_loss, rel=1e-5)
        assert a.train_accuracy == pytest.approx(b.train_accuracy, abs=2e-3)
        assert (a.validation_accuracy, a.test_accuracy) == pytest.approx(
            (b.validation_accuracy, b.test_accuracy), abs=2e-3
        )
    expected = plain.model.state_dict()
    for name, value in short.model.state_dict().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5)
    assert short.model.training


def test_hidden_blocks_are_computed_once_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    made = parts(*CACHED["graph"])
    calls: list[Block] = []
    forward = Block.forward
    monkeypatch.setattr(Block, "forward", lambda self, *rest: calls.append(self) or forward(self, *rest))
    list(train(made, LoopSettings(3)))
    hidden, last = made.model.blocks
    assert (calls.count(hidden), calls.count(last)) == (1, 6)


@pytest.mark.parametrize("words", NOT_CACHED.values(), ids=NOT_CACHED)
def test_nothing_is_cached_when_hidden_blocks_draw_random_numbers(words: tuple[str, ...]) -> None:
    assert not is_cached(parts(*words))


@pytest.mark.parametrize("rule", ["bp", "dfa"])
def test_nothing_is_cached_for_rules_that_train_hidden_blocks(rule: str) -> None:
    assert not is_cached(parts(*FC, rule=rule))


def test_nothing_is_cached_without_hidden_blocks() -> None:
    made = parts(*FC)
    made.model.blocks = torch.nn.ModuleList([made.model.blocks[-1]])  # type: ignore[assignment]
    assert not is_cached(made)


def test_a_record_is_the_same_with_and_without_the_cache(dfa: Dfa, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole model is saved, and the alignment is measured on the whole model."""
    words = (*FC, "rule=shallow", "epochs=4", "alignment_every=2", "progress=none")
    fast = dfa.run(*words)
    monkeypatch.setattr(cached_features, "MAX_BYTES", 0)
    plain = dfa.run(*words)
    assert fast.record["identity"] == plain.record["identity"]
    assert [row.keys() for row in fast.metrics] == [row.keys() for row in plain.metrics]
    for a, b in zip(fast.metrics, plain.metrics, strict=True):
        assert float(a["train_loss"]) == pytest.approx(float(b["train_loss"]), rel=1e-5)
        assert a["alignment_1"] == b["alignment_1"] == ""
        if a["alignment_3"]:
            assert float(a["alignment_3"]) == pytest.approx(float(b["alignment_3"]))
    saved = [load_tensors(run.folder / "weights.safetensors") for run in (fast, plain)]
    assert saved[0].keys() == saved[1].keys()
    for name, value in saved[0].items():
        torch.testing.assert_close(value, saved[1][name], rtol=1e-4, atol=1e-5)
