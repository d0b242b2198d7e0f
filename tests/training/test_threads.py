"""How many threads a run takes follows from its work and from the processors that it may use, and from nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from dfa_cli.config.auto import resolve_auto
from dfa_cli.config.compose import compose_run
from dfa_cli.config.instantiate import build
from dfa_cli.data.base import Data
from dfa_cli.models.base import Model, ModelShape
from dfa_cli.training import threads


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that lets this process use so many cores, below the quota of a container if there is one."""

    def allow(count: int, quota: float | None = None) -> None:
        monkeypatch.setattr(torch, "get_num_threads", lambda: count)
        monkeypatch.setattr(threads, "quota", lambda: quota)
        threads.process_threads.cache_clear()

    yield allow
    threads.process_threads.cache_clear()


def samples(rows: int, columns: int) -> Data:
    x, y = torch.zeros(rows, columns), torch.arange(rows) % 10
    return Data("made", x, y, 10, torch.arange(rows), torch.arange(0), torch.arange(0), "all")


def citations(nodes: int, words: int, words_a_node: int, edges: int) -> Data:
    """Return a graph of the size of a citation graph. The features are sparse, and only sizes matter."""
    starts = torch.arange(0, nodes * words_a_node + 1, words_a_node)
    columns = torch.arange(words_a_node).repeat(nodes)
    x = torch.sparse_csr_tensor(starts, columns, torch.ones(len(columns)), (nodes, words))
    ring = torch.arange(edges) % nodes
    data = samples(nodes, 1)
    return Data(
        "made", x, data.y, 7, data.train[:140], data.test, data.test, "all", torch.stack([ring, ring])
    )


def chosen(data: Data, *words: str) -> int:
    config = resolve_auto(compose_run([*words, "compute=cpu", "device=cpu"]).config)
    model = build(config["model"], ModelShape(data.x.shape[1], data.classes))
    return threads.threads_for(config, model, data)


DIGITS, MNIST = samples(1000, 64), samples(55_000, 784)
CORA = citations(2708, 1433, 18, 10_556)


@pytest.mark.parametrize("count", [2, 4, 16])
def test_small_work_takes_one_thread_however_many_cores_there_are(cores: Any, count: int) -> None:
    cores(count)
    assert chosen(DIGITS, "data=digits", "model.hidden=[64,64]") == 1
    assert chosen(DIGITS, "data=digits", "model.hidden=[64,64]", "batch_size=null") == 1
    assert chosen(CORA, "model=gcn", "data=cora") == 1


@pytest.mark.parametrize("count", [2, 4, 16])
def test_wide_networks_take_all_cores(cores: Any, count: int) -> None:
    cores(count)
    assert chosen(MNIST, "data=mnist", "model.hidden=[1024,1024]") == count
    assert chosen(CORA, "model=fc", "data=cora", "model.hidden=[1024,1024]") == count


def test_a_quota_bounds_the_threads_of_a_wide_network(cores: Any) -> None:
    cores(16, quota=3.0)
    assert chosen(MNIST, "data=mnist") == 3
    cores(16, quota=0.4)
    assert chosen(MNIST, "data=mnist") == 1


def test_a_number_given_by_the_user_is_taken(cores: Any) -> None:
    cores(2)
    assert chosen(DIGITS, "data=digits", "threads=7") == 7


def test_layers_of_ones_own_take_all_cores(cores: Any) -> None:
    cores(4)

    class Own(Model):
        pass

    own = Own([])
    own.blocks = nn.ModuleList([nn.Conv2d(1, 2, 3)])  # type: ignore[assignment]
    config = compose_run(["data=digits"]).config
    assert threads.threads_for(config, own, DIGITS) == 4


def test_more_work_never_takes_fewer_threads() -> None:
    counts = [threads.best_threads(10.0**exponent, 3, 16) for exponent in range(6, 13)]
    assert counts == sorted(counts)
    assert counts[0] == 1
    assert counts[-1] == 16
    assert len(set(counts)) > 2
