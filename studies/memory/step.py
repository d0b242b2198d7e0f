"""Measures training steps in a process of its own: `python -m studies.memory.step '{"rule": "dfa", ...}'`.

Prints one line of JSON: the peak of resident memory above what was in use before, and the seconds of each step. The
seconds are the time of the processor, with one thread, so other programs on the machine hardly change them.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass

import torch

from dfa_cli.devices import Digital
from dfa_cli.machine.memory import keep_freed_memory, peak_bytes, reset_peak_memory, return_freed_memory
from dfa_cli.models import Batch, FullyConnected
from dfa_cli.models.base import ModelShape
from dfa_cli.rules import Backpropagation, DirectFeedbackAlignment
from dfa_cli.seeding import generator
from studies.performance.rounds import process

CLASSES = 10
RULES = {"bp": Backpropagation, "dfa": DirectFeedbackAlignment}


@dataclass(frozen=True)
class Setting:
    """What is measured: a fully connected network of `blocks` hidden blocks of `width`, on batches of `rows` rows.

    `whole`: whether parameters, gradients and the state of Adam count too. Otherwise only what a step adds to them
    does. `keeps_freed`: whether the process keeps freed memory, as a run with activations=keep does. This is faster,
    but fragments the memory, so the peak is higher. Otherwise freed memory is returned at once, as in a run with
    activations=recompute.
    """

    rule: str
    activations: str
    blocks: int
    width: int = 256
    rows: int = 8192
    dropout: float = 0.0
    steps: int = 1
    whole: bool = False
    keeps_freed: bool = False


@dataclass(frozen=True)
class Measured:
    peak: int  # bytes
    seconds: list[float]


def measure(setting: Setting) -> Measured:
    """Measure in a new process. Raises `RuntimeError` with its output when it fails."""
    done = process("-m", "studies.memory.step", json.dumps(asdict(setting)))
    return Measured(**json.loads(done.output.splitlines()[-1]))


def measure_here(setting: Setting) -> Measured:
    torch.set_num_threads(1)
    keep_freed_memory() if setting.keeps_freed else return_freed_memory()
    x = torch.randn(setting.rows, setting.width, generator=generator(0, "x"))
    batch = Batch(x, torch.randint(CLASSES, (setting.rows,), generator=generator(0, "y")))
    few = Batch(x[:32].clone(), batch.y[:32].clone())
    empty = _memory_in_use()

    shape = ModelShape(setting.width, CLASSES, generator(0, "weights"), generator(0, "dropout"))
    model = FullyConnected(shape, [setting.width] * setting.blocks, "tanh", setting.dropout, 0.0).train()
    rule = RULES[setting.rule]()
    rule.activations = setting.activations
    rule.prepare(model, CLASSES, Digital("cpu"), torch.device("cpu"))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    # A step on a few rows makes the gradients and the state of the optimizer, and loads the libraries.
    rule.backward(model, few)
    optimizer.step()

    before = empty if setting.whole else _memory_in_use()
    reset_peak_memory()
    seconds = []
    for _ in range(setting.steps):
        if setting.whole:
            optimizer.zero_grad(set_to_none=True)
        began = time.process_time()
        rule.backward(model, batch)
        seconds.append(time.process_time() - began)
        if setting.whole:
            optimizer.step()
    peak = peak_bytes()
    assert peak is not None
    return Measured(peak - before, seconds)


def _memory_in_use() -> int:
    reset_peak_memory()
    in_use = peak_bytes()
    assert in_use is not None
    return in_use


if __name__ == "__main__":
    print(json.dumps(asdict(measure_here(Setting(**json.loads(sys.argv[1]))))))
