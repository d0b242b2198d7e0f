"""docs/own-parts.md, walked through by a newcomer, and what the page says of its classes."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch
from newcomer import (
    ROOT,
    Answer,
    Command,
    commands,
    require_agreement,
    require_clean_python,
    require_links,
)
from program import Run

from dfa_cli.config.auto import resolve_auto
from dfa_cli.config.compose import compose_run
from dfa_cli.config.instantiate import build
from dfa_cli.data.source import Source
from dfa_cli.errors import DfaError
from dfa_cli.models import Batch, Model
from dfa_cli.training.cached_features import cache_hidden_features
from dfa_cli.training.setup import Experiment, build_experiment

PAGE = ROOT / "docs" / "own-parts.md"
pytestmark = pytest.mark.slow


@commands(PAGE)
def test_a_command_prints_what_the_page_shows(command: Command, walk: dict[Command, Answer]) -> None:
    require_agreement(command, walk[command])


def test_the_python_on_the_page_is_formatted_and_clean(walk: dict[Command, Answer], here: Path) -> None:
    require_clean_python(here / "mine")


def test_all_links_lead_somewhere() -> None:
    require_links(PAGE)


@pytest.fixture
def made(walk: dict[Command, Answer], here: Path, monkeypatch: pytest.MonkeyPatch):
    """Build an experiment with classes of the page."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    own = {path.stem for path in (here / "mine").glob("*.py")}

    def experiment(*words: str) -> Experiment:
        job = compose_run(["--config-dir", str(here / "mine"), "device=cpu", "threads=1", *words])
        config = resolve_auto(job.config)
        return build_experiment(config, build(config["data"]).load(Source(None, network=False)))

    threads, state = torch.get_num_threads(), torch.get_rng_state()
    yield experiment
    torch.set_num_threads(threads)
    torch.set_rng_state(state)
    for name in own:
        sys.modules.pop(name, None)


def test_one_hop_is_a_gcn(made) -> None:
    words = ("data=digits_graph", "rule=bp", "tuned=none")
    hops, gcn = (made(f"model={name}", *words) for name in ("hops", "gcn"))
    found, expected = (dict(one.model.named_parameters()) for one in (hops, gcn))
    assert found.keys() == expected.keys()
    for one in (hops, gcn):
        one.rule.backward(one.model, one.batches.sample())
    for name, parameter in found.items():
        torch.testing.assert_close(parameter, expected[name])
        torch.testing.assert_close(parameter.grad, expected[name].grad, rtol=1e-4, atol=1e-6)


def test_fewer_hops_than_one_are_refused(made) -> None:
    with pytest.raises(DfaError, match=r"model\.hops is 0\. It must be a whole number of at least 1\."):
        made("model=hops", "model.hops=0", "rule=bp")


def test_local_errors_are_the_gradients_of_the_local_losses(made) -> None:
    """The expected gradients are those of torch's autograd through torch's own loss."""
    one = made("model=residual", "data=digits", "rule=local_errors", "batch_size=32")
    model, rule, batch = one.model, one.rule, one.batches.sample()
    step = rule.backward(model, batch)
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    h = batch.x
    for i in range(len(model.blocks)):
        h = model.output(i, h.detach(), batch)
        logits = h if i == len(model.blocks) - 1 else h @ rule.classifiers[i]
        loss = torch.nn.functional.cross_entropy(logits, batch.targets)
        loss.backward()
    torch.testing.assert_close(step.loss, loss.detach())
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-7)


def test_what_the_layers_say_of_themselves_is_true_and_used(made) -> None:
    residual = made("model=residual", "data=digits", "rule=shallow")
    assert cache_hidden_features(residual.model, residual.rule, residual.batches)[0] is not residual.model
    hops = made("model=hops", "model.hops=2", "rule=dfa")
    assert hops.model.edges_of_error() == 2 + 1
    with pytest.raises(DfaError, match="ResidualLayer cannot multiply in bfloat16"):
        residual.model.set_matmul_dtype(torch.bfloat16)


def test_no_row_of_the_residual_network_sees_another(made) -> None:
    model: Model = made("model=residual", "data=digits", "rule=bp").model.eval()
    x, y = torch.randn(5, 64, generator=torch.Generator().manual_seed(0)), torch.zeros(5)
    together = model(Batch(x, y))
    torch.testing.assert_close(together, torch.cat([model(Batch(row[None], y[:1])) for row in x]))


def test_the_edited_layer_is_in_the_records_that_it_made(walk: dict[Command, Answer], here: Path) -> None:
    runs = [Run(path.parent) for path in here.rglob("run.json")]
    sums = {run.record["code"]["files"].get("residual.py") for run in runs if "code" in run.record} - {None}
    assert len(sums) == 2
    copies = [(here / "outputs" / ".code" / name).read_text() for name in sums]
    assert sorted(re.findall(r"torch\.(relu|tanh)", copy)[0] for copy in copies) == ["relu", "tanh"]
