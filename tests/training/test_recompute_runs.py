"""activations=recompute through the command line: the results of keep, and a sentence where it cannot be had."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
from program import Dfa, interrupted_in_epoch

SMALL = ("data=digits", "model.hidden=[24,16,24]", "epochs=3", "batch_size=250", "progress=none")
DRIFTING = ("device=opu_sim", "device/drift=medium", "device.drift.tau=5", "device.drift.jitter=0.1")
NOISY = (*SMALL, "model.dropout=0.3", "model.input_dropout=0.1", *DRIFTING, "alignment_every=2")

OWN = """
from torch import nn
from dfa_cli.models import FullyConnected

class Skipping(FullyConnected):
    def forward(self, batch):
        return super().forward(batch)

class Flat(nn.Module):
    def __init__(self, sizes, hidden):
        super().__init__()
        self.layer = nn.Linear(sizes.features, sizes.classes)

    def forward(self, batch):
        return self.layer(batch.x)
"""


@pytest.mark.parametrize(
    "words",
    [
        (*NOISY, "rule=dfa"),
        (*SMALL, "rule=drtp", "device=opu_sim", "device/readout=off_axis", "rule.share_columns=true"),
        (*SMALL, "rule=bp", "model.dropout=0.3"),
        (*SMALL, "rule=shallow", "model.dropout=0.3"),
        ("model=gat", "data=digits_graph", "rule=dfa", "device=cpu", "epochs=2", "progress=none"),
    ],
    ids=["dfa", "drtp", "bp", "shallow", "gat"],
)
def test_the_results_are_those_of_keep(dfa: Dfa, words: tuple[str, ...]) -> None:
    kept = dfa.run(*words)
    recomputed = dfa.run(*words, "activations=recompute")
    assert recomputed.repeatable == kept.repeatable
    assert recomputed.weights == kept.weights
    assert recomputed.record["projection"] is None or (
        recomputed.record["projection"]["frames"] == kept.record["projection"]["frames"]
    )
    assert recomputed.record["streams"] == kept.record["streams"] == 4
    assert recomputed.record["identity"] != kept.record["identity"]


def test_an_interrupted_run_goes_on_with_the_same_streams(dfa: Dfa) -> None:
    words = (*NOISY, "rule=dfa", "activations=recompute")
    whole = dfa.run(*words)
    with interrupted_in_epoch(2):
        assert dfa.train(*words, "checkpoint_every=1").code == 130
    (run,) = [run for run in dfa.runs() if run.folder != whole.folder]
    assert dfa("resume", str(run.folder)).code == 0
    assert run.repeatable == whole.repeatable
    assert run.weights == whole.weights


@pytest.mark.parametrize("rule", ["fa", "usf", "brsf", "frsf"])
def test_a_rule_that_cannot_recompute_says_so(dfa: Dfa, rule: str) -> None:
    answer = dfa.train(*SMALL, f"rule={rule}", "activations=recompute")
    assert answer.code == 2
    assert (
        f"activations=recompute: rule={rule} needs what all blocks have computed, and does not compute it again."
        in answer.sentence
    )
    assert answer.sentence.endswith("Use activations=keep, or one of rule=dfa, drtp, shallow, bp.")


def test_an_unknown_value_is_refused(dfa: Dfa) -> None:
    answer = dfa.train(*SMALL, "activations=half")
    assert answer.sentence.endswith("activations is half. It must be one of keep, recompute.")


@pytest.fixture
def own(dfa: Dfa, tmp_path: Path) -> functools.partial:
    """`dfa train` with a folder that has the models of `OWN`."""
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "own_models.py").write_text(OWN)
    more = "activation: tanh\ndropout: 0.0\ninput_dropout: 0.0\n"
    for name, keys in (("Skipping", more), ("Flat", "")):
        (tmp_path / "mine" / "model" / f"{name.lower()}.yaml").write_text(
            f"_target_: own_models.{name}\nneeds: nothing\nhidden: [8]\n{keys}"
        )
    return functools.partial(dfa, "train", "--config-dir", str(tmp_path / "mine"))


def test_a_model_with_a_forward_of_its_own_is_not_computed_again(own: functools.partial, dfa: Dfa) -> None:
    words = dfa.arguments("model=skipping", "data=digits", "rule=bp", "epochs=1", "progress=none")
    answer = own(*words, "activations=recompute")
    assert answer.code == 2
    assert "activations=recompute: model=skipping has a `forward` of its own" in answer.sentence
    assert answer.sentence.endswith("Use activations=keep.")
    assert own(*words).code == 0


@pytest.mark.parametrize("activations", ["keep", "recompute"])
def test_a_model_without_blocks_is_told_what_training_needs(
    own: functools.partial, dfa: Dfa, activations: str
) -> None:
    answer = own(*dfa.arguments("model=flat", "data=digits", "rule=bp", f"activations={activations}"))
    assert answer.code == 2
    assert "model=flat has no list `blocks`, which training needs" in answer.sentence
    assert answer.sentence.endswith(
        "Derive its class from dfa_cli.models.Model, and hand the blocks to its constructor: super().__init__(blocks)."
    )
