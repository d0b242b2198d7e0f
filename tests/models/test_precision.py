"""precision=bf16: what is rounded, what is not, and where it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from program import Dfa
from torch import Tensor

from dfa_cli.config.auto import resolve_auto
from dfa_cli.config.compose import compose_run, conf_dir
from dfa_cli.config.instantiate import build
from dfa_cli.data.source import Source
from dfa_cli.errors import DfaError
from dfa_cli.kernels.activations import tanh
from dfa_cli.machine import cpu
from dfa_cli.models.base import Block, Model
from dfa_cli.training.setup import Experiment, build_experiment

KINDS = {
    "samples": ("data=digits", "model.hidden=[48,40]"),
    "graph": (
        "data=digits_graph",
        "model=gcn",
        "model.hidden=[48,40]",
        "model.input_dropout=0",
        "model.dropout=0",
    ),
}
ROUNDING = 2.0**-8  # relative error of one number in bfloat16


@pytest.fixture(autouse=True)
def _able(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let every processor count as one with bfloat16: all compute it correctly, if not fast."""
    info = tmp_path / "cpuinfo"
    info.write_text("flags : fpu avx512_bf16 rdtscp\n")
    monkeypatch.setattr(cpu, "CPU_INFO", info)


def parts(*words: str) -> Experiment:
    job = compose_run([*words, "threads=1", "device=cpu"])
    config = resolve_auto(job.config)
    return build_experiment(config, build(config["data"]).load(Source(None, network=False)))


def first_gradients(*words: str) -> dict[str, Tensor]:
    made = parts(*words)
    made.rule.backward(made.model, made.batches.sample())
    return {name: one.grad for name, one in made.model.named_parameters() if one.grad is not None}


@pytest.mark.parametrize("rule", sorted(path.stem for path in (conf_dir() / "rule").glob("*.yaml")))
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_float32_within_the_rounding(kind: str, rule: str) -> None:
    words = (*KINDS[kind], f"rule={rule}")
    exact, rounded = first_gradients(*words), first_gradients(*words, "precision=bf16")
    assert exact.keys() == rounded.keys()
    differs = False
    for name, value in rounded.items():
        assert value.dtype == torch.float32
        distance = (value - exact[name]).norm() / exact[name].norm()
        assert distance < 8 * ROUNDING, name
        differs |= bool(distance > 0)
    assert differs


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_hidden_blocks_are_rounded(kind: str) -> None:
    made = parts(*KINDS[kind], "precision=bf16")
    assert all(parameter.dtype == torch.float32 for parameter in made.model.parameters())
    outputs: list[Tensor] = []
    for block in made.model.blocks:
        block.register_forward_hook(lambda *given: outputs.append(given[-1]))
    projected: list[Tensor] = []
    assert made.device is not None
    project = made.device.project_parts  # type: ignore[attr-defined]
    made.device.project_parts = lambda error, spans: projected.append(error) or project(error, spans)  # type: ignore[attr-defined]
    step = made.rule.backward(made.model, made.batches.sample())
    assert outputs[-1].dtype == step.loss.dtype == projected[0].dtype == torch.float32
    if kind == "samples":
        assert [output.dtype for output in outputs[:-1]] == [torch.bfloat16] * 2


@pytest.mark.parametrize("model", sorted(path.stem for path in (conf_dir() / "model").glob("*.yaml")))
def test_every_model_learns_in_bfloat16(dfa: Dfa, model: str) -> None:
    data = "digits" if model == "fc" else "digits_graph"
    words = (
        f"model={model}",
        f"data={data}",
        "model.hidden=[32]",
        "rule=bp",
        "epochs=15",
        "optimizer.lr=0.01",
    )
    run = dfa.run(*words, "precision=bf16", "progress=none")
    assert run.record["config"]["precision"] == "bf16"
    assert run.record["result"]["test_accuracy_at_last_epoch"] > 0.6


def test_a_processor_without_bfloat16_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "older"
    info.write_text("flags : fpu avx512f avx512bw\n")
    monkeypatch.setattr(cpu, "CPU_INFO", info)
    job = compose_run(["data=digits", "precision=bf16", "compute=cpu"])
    with pytest.raises(DfaError, match=r"^precision=bf16 needs .* the processor .* use precision=fp32\.$"):
        resolve_auto(job.config)
    job = compose_run(["data=digits", "compute=cpu"])
    assert resolve_auto(job.config)["precision"] == "fp32"


def test_a_layer_that_cannot_multiply_in_bfloat16_is_named() -> None:
    model = Model([Block(torch.nn.Identity(), 3, None, 0.0) for _ in range(2)])
    with pytest.raises(DfaError, match=r"Identity cannot multiply in bfloat16.* Use precision=fp32"):
        model.set_matmul_dtype(torch.bfloat16)


def test_tanh_of_bfloat16_is_torchs_to_the_last_bit() -> None:
    z = torch.randn(64, 33, generator=torch.Generator().manual_seed(0)).mul_(3).bfloat16()
    ours, theirs = z.clone().requires_grad_(), z.clone().requires_grad_()
    signal = torch.randn(64, 33, generator=torch.Generator().manual_seed(1)).bfloat16()
    for of, function in ((ours, tanh), (theirs, torch.tanh)):
        h = function(of)
        assert torch.equal(h, torch.tanh(z))
        h.backward(signal)
    assert ours.grad is not None
    assert theirs.grad is not None
    assert torch.equal(ours.grad, theirs.grad)
