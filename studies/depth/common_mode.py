"""Repeats experiment E20 of "Common-Mode Collapse and Recovery in Direct Feedback Alignment".

Reddy, Safaai and Sabatini, September 2026. The protocol, with its random streams, is in configs/sign_20260923.json and
src/cmc/ of https://github.com/KempnerInstitute/DFA-Stall. The program is our own.

The hidden blocks get the signs of the error, `sign(e) B_i`, or these less their mean over the batch. With a sigmoid at
the output `0 < p < 1`, so `sign(e) = sign(p - t) = 1 - 2t`: a code of the label, which no training changes.

    .venv/bin/python -m studies.depth.common_mode     # a minute; writes docs/common_mode.csv
"""

from __future__ import annotations

import csv
import io
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from dfa_cli.data import MNIST
from dfa_cli.data.mnist import TRAIN
from dfa_cli.data.source import Source
from dfa_cli.machine.files import write_atomically

TABLE = Path(__file__).resolve().parents[2] / "docs" / "common_mode.csv"
SEEDS, STEPS, BATCH, RATE = range(3), 3000, 128, 1e-3  # plain gradient descent
WIDTHS, HELD_OUT, PROBE = (784, 300, 300, 300, 10), 10_000, 2_048


def accuracy(x: Tensor, y: Tensor, seed: int, centred: bool) -> float:
    """Train 3 x 300 tanh units with a sigmoid at the output, and return the accuracy on the probe."""
    with torch.random.fork_rng(devices=[]):  # nn.init draws from the global generator, as theirs does
        torch.manual_seed(seed)
        layers = [nn.Linear(*ends).requires_grad_(False) for ends in pairwise(WIDTHS)]
        for layer in layers:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    feedback_draw, batch_draw, probe_draw = (
        torch.Generator().manual_seed(one) for one in (10_000 + seed, seed, 999 + seed)
    )
    feedback = [torch.randn(width, WIDTHS[-1], generator=feedback_draw) for width in WIDTHS[1:-1]]

    def outputs(rows: Tensor) -> list[Tensor]:
        h = [x[rows]]
        for layer in layers[:-1]:
            h.append(layer(h[-1]).tanh())
        return [*h, layers[-1](h[-1])]

    for _ in range(STEPS):
        rows = torch.randint(TRAIN - HELD_OUT, (BATCH,), generator=batch_draw)
        *h, logits = outputs(rows)
        error = logits.sigmoid() - nn.functional.one_hot(y[rows], WIDTHS[-1])
        shown = error.sign() - (error.sign().mean(0) if centred else 0)
        hidden = [shown @ b.T * (1 - out.square()) for b, out in zip(feedback, h[1:], strict=True)]
        for layer, below, delta in zip(layers, h, [*hidden, error], strict=True):
            layer.weight -= RATE / BATCH * delta.T @ below
            layer.bias.sub_(RATE * delta.mean(0))
    probe = TRAIN - HELD_OUT + torch.randint(HELD_OUT, (PROBE,), generator=probe_draw)
    return float((outputs(probe)[-1].argmax(1) == y[probe]).float().mean())


def main() -> None:
    data = MNIST().load(Source.default())
    assert isinstance(data.x, Tensor)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("seed", "plain", "centred"))
    for seed in SEEDS:
        line = (seed, *(f"{100 * accuracy(data.x, data.y, seed, centred):.1f}" for centred in (False, True)))
        table.writerow(line)
        print("seed {}: plain {} %, centred {} %".format(*line), flush=True)
    write_atomically(TABLE, text.getvalue())


if __name__ == "__main__":
    main()
