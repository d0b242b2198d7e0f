"""An evaluation switches every module of the model to evaluation, and back."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dfa_cli.config.auto import resolve_auto
from dfa_cli.config.compose import compose_run
from dfa_cli.config.instantiate import build
from dfa_cli.data.source import Source
from dfa_cli.training.evaluation import Evaluation
from dfa_cli.training.setup import build_experiment


class Frozen(nn.BatchNorm1d):
    """It never trains, and says so in its own `train`."""

    def train(self, mode: bool = True) -> Frozen:
        return super().train(False)


@pytest.mark.parametrize("norm", [nn.BatchNorm1d, Frozen])
@pytest.mark.parametrize("data", ["digits", "digits_graph"])
def test_every_module_is_in_the_mode_that_it_chooses(data: str, norm: type[nn.BatchNorm1d]) -> None:
    config = resolve_auto(compose_run([f"data={data}", "model=fc", "device=cpu", "threads=1"]).config)
    made = build_experiment(config, build(config["data"]).load(Source(None, network=False)))
    made.model.blocks[0].add_module("norm", norm(3))
    made.model.train()
    before = {name: module.training for name, module in made.model.named_modules()}
    seen: list[bool] = []
    for module in made.model.modules():
        module.register_forward_pre_hook(lambda module, _: seen.append(module.training))
    evaluate = Evaluation(made.model, made.batches, made.validation, made.test)
    first, second = evaluate(), evaluate()
    assert seen
    assert not any(seen)
    assert all(map(torch.equal, first, second))
    assert {name: module.training for name, module in made.model.named_modules()} == before
    assert before["blocks.0.norm"] == (norm is nn.BatchNorm1d)
