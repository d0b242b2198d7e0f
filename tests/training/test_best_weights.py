"""`weights=best`: the saved weights are those of the epoch with the best validation accuracy."""

from __future__ import annotations

import random
import signal
import time

import pytest
from program import PATIENCE, Dfa, Run, interrupted_in_epoch

from dfa_cli.records.result import ResultSoFar
from dfa_cli.training.loop import History

EPOCHS = 12
# With this rate the accuracy on validation data rises and falls again.
ROWS = (
    *("data=digits", "model.hidden=[24,24]", "model.dropout=0.3", "batch_size=300", "optimizer.lr=1"),
    *("progress=none", "seed=3"),
)
DRIFTING = ("device=opu_sim", "device/drift=medium", "device.drift.tau=9", "device.drift.walk=0.2")
VARIANTS = {
    "fc": ROWS,
    "graph": ("data=digits_graph", "model=gcn", "optimizer.lr=0.3", "progress=none"),
    "optics that drift": (*ROWS, *DRIFTING),
    "two stages": (*ROWS, "parallel=pipeline", "parallel.stages=2"),
    "two replicas": (*ROWS, "optimizer.lr=2", "parallel=data", "parallel.replicas=2"),
}


@pytest.mark.parametrize("words", VARIANTS.values(), ids=VARIANTS)
def test_the_saved_weights_are_those_of_a_run_that_ends_with_the_best_epoch(
    dfa: Dfa, words: tuple[str, ...]
) -> None:
    best = dfa.run(*words, f"epochs={EPOCHS}", "weights=best")
    epoch = best.record["result"]["best_epoch"]
    assert 1 < epoch < EPOCHS, "the last epoch would show nothing"
    assert best.weights == dfa.run(*words, f"epochs={epoch}").weights
    assert f"weights        of epoch {epoch}" in dfa("show", str(best.folder)).out
    assert dfa("evaluate", str(best.folder)).code == 0, "they give the accuracies of the record"


def test_a_resumed_run_keeps_the_weights_of_a_best_epoch_before_its_checkpoint(dfa: Dfa) -> None:
    words = (*ROWS, f"epochs={EPOCHS}", "weights=best")
    whole = dfa.run(*words)
    epoch = whole.record["result"]["best_epoch"]
    before = set(dfa.folders())
    with interrupted_in_epoch(EPOCHS - 1):
        assert dfa.train(*words, f"checkpoint_every={epoch + 1}").code == 130
    (folder,) = set(dfa.folders()) - before
    assert dfa("resume", str(folder)).code == 0
    run = Run(folder)
    assert run.record["resumed"][0]["epoch"] > epoch
    assert run.weights == whole.weights


def test_the_best_epoch_is_the_one_that_the_record_names() -> None:
    """Ties in accuracy go to the lower loss, and the patience counts from the first epoch that reached it."""
    rng = random.Random(0)
    for _ in range(200):
        history, result, marked = History(), ResultSoFar(), 0
        first = 0
        highest = -1.0
        for epoch in range(1, 20):
            accuracy, loss = rng.randrange(4) / 4, rng.randrange(5) / 5
            marked = epoch if history.is_surpassed_by(accuracy, loss) else marked
            history = history.after(epoch, accuracy, loss, 0.0)
            row = {"epoch": epoch, "validation_accuracy": accuracy, "validation_loss": loss}
            result.add({**row, "test_accuracy": 0.0, "train_loss": 0.0})
            first, highest = (epoch, accuracy) if accuracy > highest else (first, highest)
            assert marked == result.values["best_epoch"]
            assert history.best_epoch == first


def test_a_sweep_reuses_runs_that_saved_the_weights_it_asks_for(dfa: Dfa) -> None:
    """The accuracies are the same, so tables take the runs together."""
    words = ("sweep", *dfa.arguments(*ROWS, "epochs=1"))
    for more in ((), ("weights=best",), ("weights=best",), ()):
        assert dfa(*words, *more).code == 0
    runs = sorted((run.record for run in dfa.runs()), key=lambda record: record["created"])
    assert [record["config"]["weights"] for record in runs] == ["last", "best"]
    assert runs[0]["identity"] == runs[1]["identity"]


def test_a_sweep_that_asks_for_them_begins_a_stopped_run_again(dfa: Dfa) -> None:
    words = ("sweep", *dfa.arguments(*ROWS, "epochs=100000", "checkpoint_every=1"))
    process = dfa.start(*words)
    until = time.monotonic() + PATIENCE
    while not list(dfa.outputs.rglob("checkpoint.safetensors")):
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert "resumed" in dfa(*words, "--dry-run").out
    assert "resumed" not in dfa(*words, "weights=best", "--dry-run").out
