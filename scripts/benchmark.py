"""Speed of the training loop beside the standard recipe, in alternating rounds of one process.

    scripts/benchmark graphs      Cora and CiteSeer, 16 wide, evaluation every epoch, against torch_geometric's recipe
    scripts/benchmark mnist       fully connected 2 x 1024, batch 256, against nn.Sequential and autograd
    scripts/benchmark startup     whole processes: dfa --help, dfa train, against `import torch`

Each figure is the median of `--rounds` rounds with the fastest and the slowest beside it; a ratio is taken round by
round, since machines drift. Nothing is asserted: the reader judges.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dfa_cli import experiment
from dfa_cli.data.base import Data
from dfa_cli.hydra_app import composer
from dfa_cli.training.loop import train_epoch

Round = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["graphs", "mnist", "startup"])
    parser.add_argument("--rounds", type=int, default=7, help="rounds of each contender (7)")
    options = parser.parse_args()
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads at most, {options.rounds} rounds each\n"
    )
    {"graphs": graphs, "mnist": mnist, "startup": startup}[options.what](options.rounds)


def graphs(rounds: int) -> None:
    epochs = 50
    for name in ("cora", "citeseer"):
        common = ["model=gcn", f"data={name}", "model.hidden=[16]", "epochs=1000000"]
        config = settled([*common, "rule=bp"])
        data = experiment.load_data(config)
        cores = experiment.THREADS
        contenders: dict[str, Round] = {
            f"recipe, threads {count}": with_threads(count, several(geometric_recipe(data), epochs))
            for count in (1, cores)
        }
        for label, words in {
            "bp": ["rule=bp"],
            "dfa": ["rule=dfa"],
            "dfa on opu_sim": ["rule=dfa", "device=opu_sim"],
            "shallow": ["rule=shallow"],
        }.items():
            parts = experiment.assemble(settled([*common, *words]), data)
            contenders[label] = with_threads(
                experiment.threads_for(data), several(parts.train(10**6), epochs)
            )
        print(f"{name}, gcn 16 wide, training and evaluation, milliseconds an epoch")
        report(alternate(contenders, rounds), f"recipe, threads {cores}", 1e3 / epochs)


def mnist(rounds: int) -> None:
    common = ["model=fc", "data=mnist", "batch_size=256"]
    data = experiment.load_data(settled([*common, "rule=bp"]))
    contenders: dict[str, Round] = {"recipe": sequential_recipe(data)}
    for label, words in {
        "bp": ["rule=bp"],
        "dfa": ["rule=dfa"],
        "dfa on opu_sim": ["rule=dfa", "device=opu_sim"],
        "dfa, off-axis": ["rule=dfa", "device=opu_sim", "device/readout=off_axis"],
        "shallow": ["rule=shallow"],
    }.items():
        parts = experiment.assemble(settled([*common, *words]), data)
        contenders[label] = lambda p=parts: train_epoch(p.model, p.rule, p.optimizer, p.batches)
    print("mnist, fc 2 x 1024, batch 256, float32, seconds a training epoch")
    report(alternate(contenders, rounds), "recipe", 1.0)


def startup(rounds: int) -> None:
    def process(*arguments: str) -> Round:
        return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True)

    cora = ("train", "model=gcn", "data=cora", "epochs=200")
    report(
        alternate(
            {
                "import torch": process("-c", "import torch"),
                "dfa --help": process("-m", "dfa_cli.cli", "--help"),
                "dfa train, Cora": process("-m", "dfa_cli.cli", *cora, "outputs=outputs/benchmark"),
            },
            rounds,
        ),
        "import torch",
        1.0,
    )


def settled(words: list[str]) -> dict:
    with composer(False) as compose:
        return experiment.settle(compose(words).config)


def several(epochs: Iterator[object], count: int) -> Round:
    return lambda: [next(epochs) for _ in range(count)]


def with_threads(count: int, one_round: Round) -> Round:
    def run() -> None:
        torch.set_num_threads(count)
        one_round()

    return run


def geometric_recipe(data: Data) -> Iterator[None]:
    """torch_geometric's own example of a GCN: cached GCNConv, dense features, autograd, Adam."""
    from torch_geometric.nn import GCNConv

    class Recipe(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = GCNConv(data.x.shape[1], 16, cached=True)
            self.second = GCNConv(16, data.classes, cached=True)

        def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
            x = F.dropout(x, 0.5, self.training)
            x = self.first(x, edge_index).relu()
            return self.second(F.dropout(x, 0.5, self.training), edge_index)

    x, edges = data.x.to_dense(), data.edge_index
    assert edges is not None
    model = Recipe()
    groups = [
        {"params": model.first.parameters(), "weight_decay": 5e-4},
        {"params": model.second.parameters()},
    ]
    optimizer = torch.optim.Adam(groups, lr=0.01)
    while True:
        model.train()
        optimizer.zero_grad()
        F.cross_entropy(model(x, edges)[data.train], data.y[data.train]).backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            found = model(x, edges).argmax(1)
            for rows in (data.train, data.validation, data.test):
                float((found[rows] == data.y[rows]).float().mean())
        yield


def sequential_recipe(data: Data) -> Round:
    model = nn.Sequential(
        nn.Linear(784, 1024), nn.Tanh(), nn.Linear(1024, 1024), nn.Tanh(), nn.Linear(1024, data.classes)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def epoch() -> None:
        for rows in data.train[torch.randperm(len(data.train))].split(256):
            optimizer.zero_grad()
            F.cross_entropy(model(data.x[rows]), data.y[rows]).backward()
            optimizer.step()

    return epoch


def alternate(contenders: dict[str, Round], rounds: int) -> dict[str, list[float]]:
    """Seconds of each round of each contender, A B C A B C ..., after one round that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, one_round in contenders.items():
            began = time.perf_counter()
            one_round()
            if number:
                times[name].append(time.perf_counter() - began)
    return times


def report(times: dict[str, list[float]], against: str, unit: float) -> None:
    print(f"{'':20}{'median':>10}{'fastest':>10}{'slowest':>10}   times as fast as {against}")
    for name, seconds in times.items():
        shown = [unit * value for value in (statistics.median(seconds), min(seconds), max(seconds))]
        ratio = statistics.median(b / a for a, b in zip(seconds, times[against], strict=True))
        print(f"{name:20}" + "".join(f"{value:10.3f}" for value in shown) + f"   {ratio:.2f}")
    print()


if __name__ == "__main__":
    main()
