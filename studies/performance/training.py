"""Compares the training loop with standard PyTorch programs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from dfa_cli.data import loading
from dfa_cli.data.base import Data
from dfa_cli.errors import DfaError
from dfa_cli.kernels.onednn import matmul
from dfa_cli.training import cached_features, setup
from dfa_cli.training.loop import LoopSettings, TrainingStep, train, train_epoch
from dfa_cli.training.setup import Experiment
from dfa_cli.training.threads import process_threads
from studies.performance.page import Section
from studies.performance.recipes import geometric_recipe, published_loop, sequential_recipe
from studies.performance.rounds import (
    Round,
    Times,
    add_times,
    alternate,
    median,
    resolved_config,
    speedup,
    with_threads,
)
from studies.performance.threads import seconds as run_seconds

FOREVER = 10**6  # epochs of a loop that runs for as long as the measurement takes
CPU = ("device=cpu", "compute=cpu")  # the standard programs run on the CPU only
# The network of the standard program, used for every rule: no dropout, no weight decay.
FC = (
    "model=fc",
    "data=mnist",
    "batch_size=256",
    "model.activation=tanh",
    "model.dropout=0",
    "model.input_dropout=0",
    "optimizer.weight_decay=0",
)
RULES = {
    "bp": ("rule=bp", "device=cpu"),
    "dfa": ("rule=dfa", "device=cpu"),
    "dfa on opu_sim": ("rule=dfa", "device=opu_sim"),
}


def graphs(rounds: int) -> Section:
    section = Section(
        "Graphs",
        "The tables time an epoch of training on Cora and CiteSeer, with `gcn` 16 wide and the validation "
        "and test accuracy of every epoch. The *recipe* is the same training as torch_geometric's users "
        "write it: `GCNConv(cached=True)` on dense features, autograd and `torch.optim.Adam`.",
    )
    epochs, cores = 50, process_threads()
    recipe = f"recipe, threads {cores}"
    for name in ("cora", "citeseer"):
        common = ("model=gcn", f"data={name}", "model.hidden=[16]", f"epochs={FOREVER}", "compute=cpu")
        data = loading.load_data(resolved_config(*common, *RULES["bp"]))
        contenders: dict[str, Round] = {
            f"recipe, threads {count}": with_threads(count, epochs_at_a_time(geometric_recipe(data), epochs))
            for count in sorted({1, cores})
        }
        for label, words in RULES.items():
            config = resolved_config(*common, *words)
            loop = train(setup.build_experiment(config, data), LoopSettings(FOREVER))
            contenders[label] = with_threads(torch.get_num_threads(), epochs_at_a_time(loop, epochs))
        times = alternate(contenders, rounds)
        add_times(section, times, recipe, f"{name}, ms an epoch", 1e3 / epochs)
        for label in RULES:
            section.at_least(
                f"{name}, {label}, times as fast as the recipe", speedup(times, label, recipe), 8
            )
    return section


def published(rounds: int) -> Section:
    section = Section(
        "Beside published loops",
        "The tables time an epoch of training on Cora and CiteSeer, on one thread, with `gcn` 16 wide and "
        "dropout before the last layer only. Three programs are compared: the training loop that was "
        "published with TinyDFA (Launay et al. 2020), torch_geometric's example with its dropout reduced "
        "to that one, and `dfa` with the same network. Each computes the accuracies in every epoch.",
    )
    epochs = 25
    goals = {"cora": 8, "citeseer": 12}
    for name, least in goals.items():
        base = (
            "model=gcn",
            f"data={name}",
            "model.hidden=[16]",
            "model.activation=relu",
            "model.input_dropout=0",
        )
        common = (
            *base,
            "weight_decay_on=hidden",
            "optimizer.lr=0.01",
            f"epochs={FOREVER}",
            "threads=1",
            *CPU,
        )
        data = loading.load_data(resolved_config(*common, "rule=bp"))
        words = {
            "bp": ("rule=bp", "model.dropout=0.5", "optimizer.weight_decay=5e-4"),
            "dfa": (
                "rule=dfa",
                "model.dropout=0.1",
                "optimizer.weight_decay=1e-4",
                "rule.spread_over_edges=false",
            ),
        }
        contenders: dict[str, Round] = {
            "torch_geometric's example": with_threads(
                1, epochs_at_a_time(geometric_recipe(data, 0.0), epochs)
            )
        }
        for rule, more in words.items():
            contenders[f"TinyDFA's loop, {rule}"] = with_threads(
                1, epochs_at_a_time(published_loop(data, rule), epochs)
            )
            loop = train(setup.build_experiment(resolved_config(*common, *more), data), LoopSettings(FOREVER))
            contenders[rule] = with_threads(1, epochs_at_a_time(loop, epochs))
        times = alternate(contenders, rounds)
        add_times(section, times, "torch_geometric's example", f"{name}, ms an epoch", 1e3 / epochs)
        for rule in words:
            ratio = speedup(times, rule, f"TinyDFA's loop, {rule}")
            section.at_least(f"{name}, {rule}, times as fast as TinyDFA's loop", ratio, least)
    return section


def mnist(rounds: int) -> Section:
    section = Section(
        "MNIST in float32",
        "The table times a training epoch of `fc` 2 x 1024 with batches of 256. The *recipe* is the usual "
        "PyTorch program: `nn.Sequential`, autograd, `torch.optim.Adam`, and batches taken by indexing. "
        "*Products alone* means that only the matrix products of such an epoch are computed.",
    )
    data = mnist_data()
    contenders: dict[str, Round] = {"recipe": sequential_recipe(data)}
    contenders |= {label: one_epoch(build(data, *words)) for label, words in RULES.items()}
    contenders |= {f"{rule} products alone": products(data, rule, torch.float32) for rule in ("bp", "dfa")}
    times = alternate(contenders, rounds)
    add_times(section, times, "recipe", "seconds an epoch", 1.0)
    section.at_least("dfa, times as fast as the recipe", speedup(times, "dfa", "recipe"), 1.2)
    section.at_least("bp, times as fast as the recipe", speedup(times, "bp", "recipe"), 1.0)
    for rule in ("bp", "dfa"):
        share = 1 / speedup(times, f"{rule} products alone", rule)
        section.at_least(f"{rule}, time of its products alone as a share of its epoch", share, 0.6)
    add_read_outs(section, max(3, rounds // 2))
    return section


def add_read_outs(section: Section, rounds: int) -> None:
    """Compare training on simulated optics with that on a processor, by whole runs as a user starts them."""
    optics = ("rule=dfa", "device=opu_sim")
    words = {
        "dfa": RULES["dfa"],
        "dfa on opu_sim": optics,
        "dfa on opu_sim, off-axis": (*optics, "device/readout=off_axis"),
    }

    def run(*of: str) -> float:
        return run_seconds((*FC, *of, "epochs=3"), "null", {}) / 3

    times: Times = {label: [] for label in words}
    for _ in range(rounds):
        for label, of in words.items():
            times[label].append(run(*of))
    section.text(
        "The same as runs of `dfa train` with three epochs each, with validation and test after each epoch:"
    )
    add_times(section, times, "dfa", "seconds an epoch", 1.0)
    for label, most in (("dfa on opu_sim", 1.25), ("dfa on opu_sim, off-axis", 4.0)):
        section.at_most(f"{label}, an epoch in times of dfa", 1 / speedup(times, label, "dfa"), most, "")


def precision(rounds: int) -> Section:
    section = Section(
        "precision=bf16",
        "The network is the same, with the matrix products of the hidden layers in bfloat16. It is "
        "compared with the recipe in float32.",
    )
    data = mnist_data()
    try:
        resolved_config(*FC, *CPU, "precision=bf16")
    except DfaError as error:
        section.text(f"Not measured: {error}")
        return section
    contenders: dict[str, Round] = {"recipe in float32": sequential_recipe(data)}
    for rule in ("bp", "dfa"):
        for kind, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            words = (*RULES[rule], f"precision={kind}")
            contenders[f"{rule} {kind}"] = one_epoch(build(data, *words))
            contenders[f"{rule} {kind}, products alone"] = products(data, rule, dtype)
    times = alternate(contenders, rounds)
    add_times(section, times, "recipe in float32", "seconds an epoch", 1.0)
    rates = {
        kind: flops(data, "dfa") / median(times[f"dfa {kind}, products alone"]) / 1e9
        for kind in ("fp32", "bf16")
    }
    section.text(
        f"The bare products of `dfa` reach {rates['fp32']:.0f} GFLOP/s in float32 and {rates['bf16']:.0f} in bfloat16, "
        f"{rates['bf16'] / rates['fp32']:.2f} times as many: what nothing else in an epoch can exceed."
    )
    section.at_least(
        "dfa bf16, times as fast as the recipe", speedup(times, "dfa bf16", "recipe in float32"), 2.5
    )
    section.at_least(
        "bp bf16, times as fast as the recipe", speedup(times, "bp bf16", "recipe in float32"), 2.5
    )
    epochs, seeds = 5, 2
    for rule in ("bp", "dfa"):
        found = {
            kind: [accuracy(data, epochs, seed, *RULES[rule], f"precision={kind}") for seed in range(seeds)]
            for kind in ("fp32", "bf16")
        }
        means = {kind: 100 * sum(values) / seeds for kind, values in found.items()}
        section.text(
            f"Test accuracy of `{rule}` after {epochs} epochs, mean of {seeds} seeds: {means['fp32']:.2f} % in "
            f"float32, {means['bf16']:.2f} % in bfloat16."
        )
        section.at_most(f"{rule}, loss of accuracy", means["fp32"] - means["bf16"], 0.2, "points")
    return section


def shallow(rounds: int) -> Section:
    section = Section(
        "Frozen hidden layers",
        "The tables time training and evaluation with `rule=shallow`, whose hidden layers stay as they "
        "were initialised. *Once*: the activations of the hidden layers are computed once a run, as `dfa` "
        "does. *Every time*: the same loop computes them in every step and every evaluation.",
    )
    cases = {
        "mnist": (*FC, *CPU),
        "cora": (
            "model=gcn",
            "data=cora",
            "model.hidden=[16]",
            "model.dropout=0",
            "model.input_dropout=0",
            *CPU,
        ),
    }
    bound = cached_features.MAX_BYTES
    for name, words in cases.items():
        config = resolved_config(*words, "rule=shallow", f"epochs={FOREVER}")
        data = loading.load_data(config)
        count = 1 if name == "mnist" else 50
        contenders: dict[str, Round] = {}
        for label, most in (("every time", 0), ("once", bound)):
            cached_features.MAX_BYTES = most
            loop = train(setup.build_experiment(config, data), LoopSettings(FOREVER))
            contenders[label] = with_threads(torch.get_num_threads(), epochs_at_a_time(loop, count))
        cached_features.MAX_BYTES = bound
        times = alternate(contenders, rounds)
        add_times(section, times, "every time", f"{name}, ms an epoch", 1e3 / count)
        section.at_least(
            f"{name}, times as fast when computed once", speedup(times, "once", "every time"), 1.0
        )
    return section


def mnist_data() -> Data:
    torch.set_num_threads(process_threads())
    return loading.load_data(resolved_config(*FC, *CPU, "rule=bp"))


def build(data: Data, *words: str) -> Experiment:
    return setup.build_experiment(resolved_config(*FC, "compute=cpu", *words), data)


def one_epoch(made: Experiment) -> Round:
    step = TrainingStep(made.model, made.rule, made.optimizer, made.batches)
    return lambda: train_epoch(step, made.batches, step.sums)


def epochs_at_a_time(epochs: Iterator[object], count: int) -> Round:
    return lambda: [next(epochs) for _ in range(count)]


def accuracy(data: Data, epochs: int, seed: int, *words: str) -> float:
    config = resolved_config(*FC, "compute=cpu", *words, f"epochs={epochs}", f"seed={seed}")
    *_, last = train(setup.build_experiment(config, data), LoopSettings.from_config(config))
    return last.test_accuracy


def products(data: Data, rule: str, dtype: torch.dtype) -> Round:
    """Return a round that computes only the matrix products of an epoch: forward, gradients, and the backward signal.

    The operands are ready, and the library is the faster one on this machine, as in the network.
    """
    pairs = [(_random(a, dtype), _random(b, dtype)) for a, b in shapes(data, rule)]
    batches = -(-len(data.train) // 256)

    def run() -> None:
        for _ in range(batches):
            for a, b in pairs:
                matmul(a, b)

    return run


def flops(data: Data, rule: str) -> float:
    """Count the floating-point operations of `products`."""
    return sum(2 * a[0] * a[1] * b[1] for a, b in shapes(data, rule)) * -(-len(data.train) // 256)


def shapes(data: Data, rule: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """List the shapes of a step's products in the two wide layers. The ten classes add only a hundredth of the work."""
    n, features, width = 256, data.x.shape[1], 1024
    forward = [((n, features), (features, width)), ((n, width), (width, width))]
    gradients = [((features, n), (n, width)), ((width, n), (n, width))]
    backward = (
        [((n, width), (width, width))] if rule == "bp" else []
    )  # dfa sends no signal from layer to layer
    return [*forward, *gradients, *backward]


def _random(shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
