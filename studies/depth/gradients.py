"""Measures how an encoding of the error turns the feedback of a row, and the gradient that is a sum over rows.

Networks of four blocks are trained on Cora for a few epochs with an encoding, without the noise of the optics. In each
epoch the same weights get the feedback of the exact error as well, through the same matrix. Two cosines between the
two are taken: that of the feedback of a row, averaged over the labelled rows, and that of the gradient of the weights
of each hidden block.

    .venv/bin/python -m studies.depth.gradients     # a minute; writes docs/depth_gradients.csv
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dfa_cli.config.auto import resolve_auto
from dfa_cli.config.compose import compose_sweep
from dfa_cli.data.loading import load_data
from dfa_cli.machine.files import write_atomically
from dfa_cli.rules.base import loss_and_error
from dfa_cli.training.setup import Experiment, build_experiment

TABLE = Path(__file__).resolve().parents[2] / "docs" / "depth_gradients.csv"
MODELS = {"gcn": "[64,64,64]", "fc": "[64,64,64]", "gat": "[8,8,8]"}
ENCODINGS = ("ternary", "two_scales", "dithered")
SEEDS, EPOCHS = range(3), 10


def main() -> None:
    text = io.StringIO()
    table: csv.DictWriter[str] = csv.DictWriter(
        text,
        ("model", "encoding", "seed", "epoch", "row", "gradient_1", "gradient_2", "gradient_3"),
        lineterminator="\n",
    )
    table.writeheader()
    for model in MODELS:
        for encoding in ENCODINGS:
            for seed in SEEDS:
                for epoch, cosines in enumerate(measure(model, encoding, seed), start=1):
                    names = {"model": model, "encoding": encoding, "seed": seed, "epoch": epoch}
                    table.writerow(names | {key: f"{value:.4f}" for key, value in cosines.items()})
        print(f"{model}: done", flush=True)
    write_atomically(TABLE, text.getvalue())


def measure(model: str, encoding: str, seed: int) -> Iterator[dict[str, float]]:
    """Yield the cosines before each epoch of training."""
    shown, exact = (_experiment(model, one, seed) for one in (encoding, "float"))
    for _ in range(EPOCHS):
        shown.model.eval()
        (batch,) = shown.batches
        with torch.no_grad():
            _, error = loss_and_error(shown.model(batch), batch.targets)
        pair = [one.rule.device.project(error) for one in (shown, exact)]  # type: ignore[attr-defined]
        cosines = {"row": float(torch.cosine_similarity(*pair, dim=1).mean())}
        pairs = zip(*(_gradients(shown, one.rule, batch) for one in (shown, exact)), strict=True)
        for i, (mine, true) in enumerate(pairs, start=1):
            cosines[f"gradient_{i}"] = float(torch.cosine_similarity(mine, true, dim=0))
        yield cosines
        shown.model.train()
        shown.optimizer.zero_grad(set_to_none=True)
        shown.rule.backward(shown.model, batch)
        shown.optimizer.step()


def _experiment(model: str, encoding: str, seed: int) -> Experiment:
    words = ["rule=dfa", "data=cora", f"model={model}", f"model.hidden={MODELS[model]}", f"seed={seed}"]
    words += ["device=opu_sim", "device/readout=ideal", f"device/encoding={encoding}", "compute=cpu"]
    words.append("device.remove_sum=false")
    (job,) = compose_sweep(words)
    config: dict[str, Any] = resolve_auto(job.config)
    return build_experiment(config, load_data(config))


def _gradients(trained: Experiment, rule: Any, batch: Any) -> list[Tensor]:
    """Return the gradient of all weight matrices of each hidden block, as one vector for each block."""
    trained.model.zero_grad(set_to_none=True)
    rule.backward(trained.model, batch)
    blocks = [list(block.matrices().values()) for block in trained.model.blocks[:-1]]
    return [
        torch.cat([w.grad.flatten() for w in weights if w.grad is not None]).double() for weights in blocks
    ]


if __name__ == "__main__":
    main()
