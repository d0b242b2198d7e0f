"""`dfa evaluate`: what the saved weights of a run give, beside what its record says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from program import Dfa, Run
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits
from torch import nn

import dfa_cli
from dfa_cli.errors import DfaError

WORDS = ("data=digits", "model.hidden=[16]", "epochs=20", "optimizer.lr=0.01", "progress=none")


@pytest.fixture(scope="module")
def trained(dfa_in) -> tuple[Dfa, Run]:
    dfa = dfa_in("trained")
    return dfa, dfa.run(*WORDS)


def test_the_confusions_are_those_that_torch_alone_computes_from_the_file(trained: tuple[Dfa, Run]) -> None:
    dfa, run = trained
    answer = dfa("evaluate", str(run.folder), "--json")
    assert answer.code == 0
    found = json.loads(answer.out)
    weights = load_file(run.folder / "weights.safetensors")
    pixels, targets = load_digits(return_X_y=True)
    x = torch.tensor(pixels, dtype=torch.float32) / 16
    y = torch.tensor(targets)
    h = torch.tanh(x @ weights["blocks.0.layer.weight"] + weights["blocks.0.layer.bias"])
    favoured = (h @ weights["blocks.1.layer.weight"] + weights["blocks.1.layer.bias"]).argmax(1)
    # Each part has its own rows, so the classes and the rows of all parts add up to those of the data set.
    rest = torch.zeros(10, 10, dtype=torch.int64)
    for own, taken in zip(y.tolist(), favoured.tolist(), strict=True):
        rest[own, taken] += 1
    for part, rows in (("validation", 297), ("test", 500)):
        assert found[part]["rows"] == rows
        confusion = torch.tensor(found[part]["confusion"])
        assert confusion.sum() == rows
        assert confusion.trace() == found[part]["correct"]
        rest -= confusion
    assert rest.min() >= 0
    assert rest.sum() == 1000
    hits = rest.trace().item() / 1000
    assert 0.5 < hits < 1, "with as many classes confused as not, the sums above would show little"


def test_the_text_has_each_class_and_fits_the_terminal(trained: tuple[Dfa, Run]) -> None:
    dfa, run = trained
    answer = dfa("evaluate", "last", str(dfa.outputs))
    found = json.loads(dfa("evaluate", "last", str(dfa.outputs), "--json").out)
    lines = answer.out.splitlines()
    assert lines[0] == f"run {run.record['id']}, with its weights of epoch 20"
    assert max(map(len, lines)) <= 80
    shown = [line.split() for line in lines if line.strip()[:1].isdigit()]
    assert [int(row[0]) for row in shown] == list(range(10))
    assert [int(row[1]) for row in shown] == [sum(row) for row in found["test"]["confusion"]]
    assert lines[-1] == "The weights give the accuracies of the record."


def test_other_weights_are_found_out(dfa: Dfa) -> None:
    run = dfa.run(*WORDS)
    path = run.folder / "weights.safetensors"
    save_file({name: torch.zeros_like(value) for name, value in load_file(path).items()}, path)
    damaged = dfa("evaluate", str(run.folder))
    assert damaged.code == 2
    assert (
        "weights.safetensors is not what dfa has written" in damaged.sentence or "damaged" in damaged.sentence
    )
    run.rewrite(run.record)  # as a version of dfa that wrote no checksums
    answer = dfa("evaluate", str(run.folder))
    assert answer.code == 1
    correct = round(float(run.metrics[-1]["test_accuracy"]) * 500)
    # Without weights all classes are equally likely, and the first is taken.
    zeros = json.loads(dfa("evaluate", str(run.folder), "--json").out)["test"]["confusion"]
    assert sum(row[0] for row in zeros) == 500
    assert f"{correct - zeros[0][0]} test rows fewer are correct than the record says." in " ".join(
        answer.out.split()
    )


@pytest.mark.parametrize(
    "words",
    [
        ("data=digits_graph", "model=gcn", "epochs=4"),
        ("data=digits_graph", "model=gat", "model.conv.heads=2", "epochs=2"),
        (*WORDS, "rule=shallow", "epochs=3"),
        (*WORDS, "precision=bf16", "epochs=3"),
        (*WORDS, "parallel=pipeline", "parallel.stages=2", "epochs=3"),
    ],
    ids=["gcn", "gat", "shallow", "bf16", "two stages"],
)
def test_the_accuracies_of_the_record_come_again(dfa: Dfa, words: tuple[str, ...]) -> None:
    run = dfa.train(*words, "progress=none")
    if "bfloat16" in run.err:
        pytest.skip(run.sentence)
    assert run.code == 0, run.err
    assert dfa("evaluate", "last", str(dfa.outputs)).code == 0


def test_a_run_without_metrics_or_weights_is_refused_in_a_sentence(dfa: Dfa) -> None:
    run = dfa.run(*WORDS)
    run.rewrite(run.record)  # as a version of dfa that wrote no checksums
    (run.folder / "metrics.csv").unlink()
    assert (
        "has no metrics of epoch 20, so there is nothing to compare with"
        in dfa("evaluate", str(run.folder)).sentence
    )
    (run.folder / "weights.safetensors").unlink()
    assert (
        "has no weights.safetensors, which a run writes when it completes"
        in dfa("evaluate", str(run.folder)).sentence
    )


def test_python_gets_the_network(trained: tuple[Dfa, Run], monkeypatch: pytest.MonkeyPatch) -> None:
    dfa, run = trained
    for name, value in dfa.environment.items():
        monkeypatch.setenv(name, value)
    torch.manual_seed(5)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    net = dfa_cli.trained(run.record["id"][:4], dfa.outputs)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    model, test = net.model, net.data.test
    accuracy = (net.logits(test).argmax(1) == net.data.y[test]).double().mean()
    assert float(accuracy) == float(run.metrics[-1]["test_accuracy"])
    assert isinstance(model, nn.Module)
    assert not model.training
    stored = load_file(run.folder / "weights.safetensors")
    assert {name for name in stored if not name.startswith("feedback.")} == set(model.state_dict())
    assert all(torch.equal(value, stored[name]) for name, value in model.state_dict().items())
    with pytest.raises(DfaError, match="no run below"):
        dfa_cli.trained("zzzz", dfa.outputs)


def test_code_of_ones_own_is_imported_only_from_a_named_folder(dfa: Dfa, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "narrow.yaml").write_text(
        "_target_: narrow_network.Narrow\nhidden: [4]\nactivation: tanh\ndropout: 0.0\ninput_dropout: 0.0\n"
    )
    (folder / "narrow_network.py").write_text(
        "from dfa_cli.models import FullyConnected\nclass Narrow(FullyConnected):\n    pass\n"
    )
    words = ("--config-dir", str(folder), "model=narrow", "data=digits", "epochs=1", "progress=none")
    run = dfa.run(*words)
    assert "uses code that is no part of dfa" in dfa("evaluate", str(run.folder)).sentence
    assert dfa("evaluate", str(run.folder), "--config-dir", str(folder)).code == 0
