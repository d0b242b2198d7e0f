"""The training loop: what it measures, in which order it uses the rows, and when it stops."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from dfa_cli.config.auto import resolve_auto
from dfa_cli.config.compose import compose_run
from dfa_cli.config.instantiate import build
from dfa_cli.data.base import Data
from dfa_cli.data.source import Source
from dfa_cli.errors import DfaError
from dfa_cli.models import Batch
from dfa_cli.models.batch import Graph
from dfa_cli.training.loop import Epoch, LoopSettings, train
from dfa_cli.training.setup import Experiment, build_experiment

FC = ("data=digits", "model.hidden=[12]", "batch_size=null", "device=cpu")
GCN = ("model=gcn", "data=digits_graph", "device=cpu")


def config(*words: str) -> dict[str, Any]:
    job = compose_run([*words, "threads=1"])
    return resolve_auto(job.config)


def data(*words: str) -> Data:
    return build(config(*words)["data"]).load(Source(None, network=False))


def parts(*words: str, given: Data | None = None) -> Experiment:
    return build_experiment(config(*words), given or data(*words))


def epochs(made: Experiment, count: int, patience: int | None = None) -> list[Epoch]:
    return list(train(made, LoopSettings(count, patience)))


@pytest.fixture(autouse=True)
def _restore_torch_state() -> Any:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    yield
    torch.set_num_threads(threads)
    torch.set_rng_state(state)


def scores(made: Experiment, given: Data, rows: Tensor) -> tuple[float, float]:
    """Compute the mean loss and the accuracy with torch alone."""
    graph = None if given.edge_index is None else Graph(given.edge_index, len(given.y))
    made.model.eval()
    with torch.no_grad():
        x = given.x.to_dense() if given.x.layout != torch.strided else given.x
        logits = made.model(Batch(x, given.y, None, graph))[rows]
    made.model.train()
    y = given.y[rows]
    return cross_entropy(logits, y).item(), (logits.argmax(1) == y).double().mean().item()


@pytest.mark.parametrize(
    "words", [(*FC, "batch_size=64", "model.dropout=0.5"), GCN], ids=["samples", "graph"]
)
def test_validation_and_test_are_measured_after_the_epoch_without_dropout(words: tuple[str, ...]) -> None:
    given = data(*words)
    made = parts(*words, given=given)
    for epoch in train(made, LoopSettings(3)):
        loss, accuracy = scores(made, given, given.validation)
        assert epoch.validation_loss == pytest.approx(loss, rel=1e-5)
        assert epoch.validation_accuracy == pytest.approx(accuracy, abs=1e-6)
        assert epoch.test_accuracy == pytest.approx(scores(made, given, given.test)[1], abs=1e-6)
        assert made.model.training


def test_the_training_loss_and_accuracy_are_those_of_the_steps() -> None:
    given = data(*FC)
    made = parts(*FC, given=given)
    for before in range(3):
        loss, accuracy = scores(made, given, given.train)
        (epoch,) = train(made, LoopSettings(1))
        assert epoch.train_loss == pytest.approx(loss, rel=1e-5), f"epoch {before + 1}"
        assert epoch.train_accuracy == pytest.approx(accuracy, abs=1e-6)


def test_the_training_loss_of_uneven_batches_is_the_mean_over_rows() -> None:
    """1,000 rows in batches of 300 leave 100 for the last one. The steps are too small to change the weights."""
    words = (*FC, "batch_size=300", "optimizer=sgd", "optimizer.lr=1e-30", "optimizer.momentum=0")
    given = data(*words)
    made = parts(*words, given=given)
    loss, accuracy = scores(made, given, given.train)
    (epoch,) = train(made, LoopSettings(1))
    assert epoch.train_loss == pytest.approx(loss, rel=1e-5)
    assert epoch.train_accuracy == pytest.approx(accuracy, abs=1e-6)


def row_numbers(batch: Batch) -> Tensor:
    """Return the first column, into which the test below writes the number of the row."""
    assert isinstance(batch.x, Tensor)
    return batch.x[:, 0].long()


def test_every_training_row_is_seen_once_an_epoch_in_a_new_order() -> None:
    words = (*FC, "batch_size=64")
    given = data(*words)
    marked = replace(given, x=torch.cat([torch.arange(len(given.y))[:, None].float(), given.x[:, 1:]], 1))
    made = parts(*words, given=marked)
    orders = []
    for _ in range(2):
        batches = list(made.batches)
        assert [len(batch.y) for batch in batches] == [64] * 15 + [40]
        assert all(torch.equal(batch.y, given.y[row_numbers(batch)]) for batch in batches)
        orders.append(torch.cat([row_numbers(batch) for batch in batches]))
    assert all(torch.equal(order.sort().values, given.train) for order in orders)
    assert not torch.equal(orders[0], orders[1])
    again = parts(*words, given=marked)
    assert torch.equal(torch.cat([row_numbers(batch) for batch in again.batches]), orders[0])
    other = parts(*words, "seed=1", given=marked)
    assert not torch.equal(torch.cat([row_numbers(batch) for batch in other.batches]), orders[0])


def test_a_graph_is_one_batch_whose_labels_are_those_of_the_training_rows() -> None:
    given = data(*GCN)
    (batch,) = parts(*GCN, given=given).batches
    assert batch.rows is not None
    assert batch.graph is not None
    assert torch.equal(batch.rows, given.train)
    assert torch.equal(batch.targets, given.y[given.train])
    assert batch.x.shape[0] == len(given.y)


@pytest.mark.parametrize("rule", ["bp", "dfa", "shallow"])
@pytest.mark.parametrize("words", [(*FC, "batch_size=128"), GCN], ids=["samples", "graph"])
def test_labels_outside_the_training_set_do_not_influence_training(words: tuple[str, ...], rule: str) -> None:
    words = (*words, f"rule={rule}")
    given = data(*words)
    hidden = given.y.clone()
    hidden[given.test] = (hidden[given.test] + 1) % given.classes
    hidden[given.validation] = (hidden[given.validation] + 1) % given.classes
    first, second = parts(*words, given=given), parts(*words, given=replace(given, y=hidden))
    a, b = epochs(first, 4), epochs(second, 4)
    assert [(e.train_loss, e.train_accuracy) for e in a] == [(e.train_loss, e.train_accuracy) for e in b]
    assert [e.test_accuracy for e in a] != [e.test_accuracy for e in b], "the labels have not changed"
    assert all(map(torch.equal, first.model.state_dict().values(), second.model.state_dict().values()))


def test_test_labels_do_not_influence_early_stopping() -> None:
    given = data(*GCN)
    hidden = given.y.clone()
    hidden[given.test] = (hidden[given.test] + 1) % given.classes
    words = (*GCN, "optimizer.lr=0.05")
    counts = [
        len(epochs(parts(*words, given=replace(given, y=y)), 60, patience=3)) for y in (given.y, hidden)
    ]
    assert counts[0] == counts[1] < 60


@pytest.mark.parametrize(("patience", "expected"), [(None, 12), (3, 4), (1, 2), (50, 12)])
def test_patience_counts_epochs_without_a_better_validation_accuracy(
    patience: int | None, expected: int
) -> None:
    """The steps are so small that the first epoch stays the best."""
    made = parts(*FC, "optimizer=sgd", "optimizer.lr=1e-30")
    found = epochs(made, 12, patience)
    assert [epoch.epoch for epoch in found] == list(range(1, expected + 1))


def test_seconds_count_from_the_start_of_training() -> None:
    seconds = [epoch.seconds for epoch in train(parts(*FC), LoopSettings(4))]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0


def test_a_loss_that_is_not_finite_ends_training_and_names_the_epoch() -> None:
    words = (*FC, "optimizer=sgd", "optimizer.lr=1e30", "rule=bp", "model.activation=relu")
    found: list[Epoch] = []
    with pytest.raises(DfaError, match=r"(nan|inf).*epoch \d+") as caught:
        found.extend(train(parts(*words), LoopSettings(50)))
    # `extend` keeps the epochs that came before the exception.
    assert f"epoch {len(found) + 1}" in str(caught.value)
    assert "optimizer.lr" in str(caught.value)


@pytest.mark.parametrize("rule", ["bp", "dfa"])
@pytest.mark.parametrize("words", [(*FC, "batch_size=100"), GCN], ids=["samples", "graph"])
def test_it_learns(words: tuple[str, ...], rule: str) -> None:
    made = parts(*words, f"rule={rule}", "optimizer.lr=0.01")
    found = epochs(made, 30)
    assert found[-1].train_loss < 0.7 * found[0].train_loss
    assert found[-1].test_accuracy > 0.7  # chance is 0.1


def test_shallow_does_not_change_the_hidden_blocks() -> None:
    made = parts(*FC, "rule=shallow", "optimizer=adamw", "optimizer.weight_decay=0.1")
    before = {name: value.clone() for name, value in made.model.state_dict().items()}
    epochs(made, 5)
    changed = {
        name for name, value in made.model.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {"blocks.1.layer.weight", "blocks.1.layer.bias"}


def test_training_does_not_draw_from_the_global_generator() -> None:
    made = parts(*FC, "model.dropout=0.5", "batch_size=100", "device=opu_sim")
    torch.manual_seed(1)
    before = torch.get_rng_state()
    epochs(made, 2)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(("weight_decay_on", "shrinks"), [("all", True), ("hidden", False)])
def test_weight_decay_is_for_all_blocks_or_for_the_hidden_ones(weight_decay_on: str, shrinks: bool) -> None:
    made = parts(
        *FC,
        f"weight_decay_on={weight_decay_on}",
        "optimizer=sgd",
        "optimizer.weight_decay=0.5",
        "optimizer.momentum=0",
    )
    for parameter in made.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    before = [parameter.detach().clone() for parameter in made.model.parameters()]
    made.optimizer.step()
    hidden, last = (
        made.model.blocks[0].get_parameter("layer.weight"),
        made.model.blocks[1].get_parameter("layer.weight"),
    )
    torch.testing.assert_close(hidden, before[0] * (1 - 0.1 * 0.5))
    assert torch.equal(last, before[2]) != shrinks


def test_an_observer_follows_the_batches_of_an_epoch_but_no_epoch_of_one_batch() -> None:
    for words, expected in (((*FC, "batch_size=300"), [0.3, 0.6, 0.9, 1.0]), (FC, []), (GCN, [])):
        made = parts(*words)
        seen: list[float] = []
        made.batches.observer = seen.append
        epochs(made, 2)
        assert seen == pytest.approx(expected * 2)
