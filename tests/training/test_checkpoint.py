"""A run that was interrupted and resumed equals an uninterrupted run, to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from program import Answer, Dfa, Run, interrupted_in_epoch

from dfa_cli.records.run import CHECKPOINT

EPOCHS, EVERY, END = 7, 3, 5  # interrupted after epoch 5, so epochs 4 and 5 are measured twice

GRAPH = ["data=digits_graph", "model=gcn"]
ROWS = ["data=digits", "model=fc", "model.hidden=[24,24]", "model.dropout=0.3", "batch_size=300"]
THIRD_PARTY = ["data=digits_graph", "model=gat", "model.conv.heads=2", "+model.conv.dropout=0.4"]
VARIANTS = {
    "gcn bp": [*GRAPH, "rule=bp"],
    "gcn dfa": [*GRAPH, "rule=dfa", "device=cpu"],
    "gcn dfa opu": [*GRAPH, "rule=dfa", "device=opu_sim"],
    "gcn dfa opu off-axis": [*GRAPH, "rule=dfa", "device=opu_sim", "device/readout=off_axis"],
    "gcn shallow": [*GRAPH, "rule=shallow"],
    "fc shallow, hidden blocks computed once": [*ROWS, "model.dropout=0", "rule=shallow"],
    "fc dfa shuffled": [*ROWS, "rule=dfa", "device=cpu"],
    "fc dfa opu shuffled": [*ROWS, "rule=dfa", "device=opu_sim"],
    "fc bp sgd": [*ROWS, "rule=bp", "optimizer=sgd"],
    "fc bp adamw": [*ROWS, "rule=bp", "optimizer=adamw"],
    "gat with attention dropout": [*THIRD_PARTY, "rule=dfa", "device=cpu"],
    "gat with attention dropout, opu": [*THIRD_PARTY, "rule=dfa", "device=opu_sim"],
    "opu that drifts, with the sum removed": [
        *(*ROWS, "rule=dfa", "device=opu_sim", "device/encoding=ternary", "device.remove_sum=true"),
        *("device/drift=medium", "device.drift.tau=9", "device.drift.walk=0.2", "device.drift.jitter=0.3"),
    ],
}


def interrupted(dfa: Dfa, *words: str, end: int = END) -> Run:
    before = set(dfa.folders())
    with interrupted_in_epoch(end):
        assert dfa.train(*words, f"checkpoint_every={EVERY}").code == 130
    (new,) = set(dfa.folders()) - before
    return Run(new)


def resume(dfa: Dfa, run: Run, *words: str) -> Answer:
    return dfa("resume", run.record["id"], str(dfa.outputs), *words)


def without_times(record: dict[str, Any]) -> dict[str, Any]:
    cost = record["projection"] or {}
    return {
        "result": record["result"],
        "status": record["status"],
        "projection": {name: value for name, value in cost.items() if name != "measured_seconds"},
    }


@pytest.mark.parametrize("words", VARIANTS.values(), ids=VARIANTS)
def test_metrics_weights_and_cost_are_those_of_an_uninterrupted_run(dfa: Dfa, words: list[str]) -> None:
    common = [*words, f"epochs={EPOCHS}", "seed=3", "progress=none"]
    whole = dfa.run(*common)
    run = interrupted(dfa, *common)
    assert run.record["status"] == "interrupted"
    assert len(run.metrics) == END
    assert run.repeatable == whole.repeatable[:END]

    answer = resume(dfa, run)

    assert answer.code == 0, answer.err
    assert f"epoch {EPOCHS}/{EPOCHS}" in answer.out, "the terminal of the command decides, not the record"
    assert run.repeatable == whole.repeatable
    assert run.weights == whole.weights
    assert without_times(run.record) == without_times(whole.record)
    assert run.record["identity"] == whole.record["identity"]
    assert run.record["resumed"][0]["epoch"] == EVERY
    assert run.record["resumed"][0]["was"] == "interrupted"
    assert not (run.folder / CHECKPOINT).exists()


def test_an_interrupted_run_has_the_cost_of_its_projections(dfa: Dfa) -> None:
    common = [*ROWS, "rule=dfa", "device=opu_sim", "epochs=9", "seed=3", "progress=none"]
    run = interrupted(dfa, *common)
    first = run.record["projection"]
    assert first["frames"] == int(run.metrics[-1]["frames"]) > 0
    assert first["rows"] == END * run.record["result"]["sizes"]["train"]
    shown = dfa("show", str(run.folder)).out
    assert f"{first['frames']:,} frames, modelled" in shown
    assert f"SNR {first['notes']['snr_db']:.1f} dB" in shown

    with interrupted_in_epoch(EVERY + 1):
        assert resume(dfa, run).code == 130
    again = run.record["projection"]
    assert again["frames"] == int(run.metrics[-1]["frames"]) < first["frames"]
    assert again["steps"] * END == first["steps"] * (EVERY + 1)


def test_patience_counts_across_the_interruption(dfa: Dfa) -> None:
    # The learning rate is so small that the first epoch stays the best.
    common = [*ROWS, "rule=shallow", "optimizer.lr=1e-12", "patience=4", "epochs=50", "progress=none"]
    whole = dfa.run(*common)
    run = interrupted(dfa, *common, end=4)

    assert resume(dfa, run).code == 0

    assert 4 < len(whole.metrics) < 50
    assert run.repeatable == whole.repeatable


def test_seconds_go_on_where_they_stopped(dfa: Dfa) -> None:
    run = interrupted(dfa, *GRAPH, f"epochs={EPOCHS}", "progress=none")
    assert resume(dfa, run).code == 0
    seconds = [float(row["seconds"]) for row in run.metrics]
    assert seconds == sorted(seconds)
    took = run.record["time"]
    assert took["total_seconds"] >= took["train_seconds"] >= seconds[-1], "the time before counts as well"


def test_a_run_can_be_ended_and_resumed_again_and_again(dfa: Dfa) -> None:
    common = [*ROWS, "rule=dfa", "device=opu_sim", "epochs=10", "progress=none"]
    whole = dfa.run(*common)
    run = interrupted(dfa, *common)
    for end in (4, 7, 8):  # The first interruption comes before the epoch of the one before.
        with interrupted_in_epoch(end):
            assert resume(dfa, run).code == 130
    assert resume(dfa, run).code == 0
    assert run.repeatable == whole.repeatable
    assert run.weights == whole.weights
    assert [entry["epoch"] for entry in run.record["resumed"]] == [3, 3, 6, 6]


def test_without_a_checkpoint_resume_says_so_and_starts_again_only_when_told(dfa: Dfa) -> None:
    common = [*GRAPH, f"epochs={EPOCHS}", "progress=none"]
    whole = dfa.run(*common)
    with interrupted_in_epoch(END):
        assert dfa.train(*common).code == 130
    (run,) = [run for run in dfa.runs() if run.folder != whole.folder]

    answer = resume(dfa, run)
    assert answer.code == 2
    assert "has no checkpoint" in answer.sentence
    assert f"dfa resume {run.record['id']} --from-start" in answer.sentence
    assert run.record["status"] == "interrupted"

    assert resume(dfa, run, "--from-start").code == 0
    assert run.repeatable == whole.repeatable
    assert run.weights == whole.weights


def test_a_completed_run_is_not_resumed(dfa: Dfa) -> None:
    run = dfa.run(*GRAPH, "epochs=2", "progress=none")
    answer = resume(dfa, run)
    assert answer.code == 2
    # An id is looked for below outputs/ only, so the folder is named.
    assert answer.sentence.endswith(f"use dfa rerun {run.folder}.")


def test_a_damaged_checkpoint_is_reported_and_from_start_trains_again(dfa: Dfa) -> None:
    common = [*GRAPH, f"epochs={EPOCHS}", "progress=none"]
    run = interrupted(dfa, *common)
    path = run.folder / CHECKPOINT
    path.write_bytes(path.read_bytes()[:-100])

    answer = resume(dfa, run)

    assert answer.code == 2
    assert "cannot be read back" in answer.sentence
    assert run.record["status"] == "interrupted"  # as before, since it did not begin
    assert resume(dfa, run, "--from-start").code == 0
    assert run.record["status"] == "completed"


def test_missing_lines_of_the_metrics_are_reported(dfa: Dfa) -> None:
    run = interrupted(dfa, *GRAPH, f"epochs={EPOCHS}", "progress=none")
    run.rewrite(run.record)  # as of a version without checksums, which would show the change by themselves
    table = run.folder / "metrics.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:2]))

    answer = resume(dfa, run)

    assert answer.code == 2
    assert "lacks epochs up to 3" in answer.sentence


def test_a_truncated_last_line_does_not_prevent_resuming(dfa: Dfa) -> None:
    common = [*GRAPH, f"epochs={EPOCHS}", "progress=none"]
    whole = dfa.run(*common)
    run = interrupted(dfa, *common)
    run.rewrite({**run.record, "status": "running"})  # as a killed process leaves it
    table = run.folder / "metrics.csv"
    table.write_text(table.read_text()[:-9])

    assert resume(dfa, run).code == 0
    assert run.repeatable == whole.repeatable


HALF = """
from dfa_cli.rules import Backpropagation

class Counting(Backpropagation):
    def {method}(self, *state):
        return {{}}
"""


@pytest.mark.parametrize(
    ("method", "lacks"), [("state_dict", "load_state_dict"), ("load_state_dict", "state_dict")]
)
def test_a_rule_that_is_saved_or_restored_by_half_is_refused(dfa: Dfa, method: str, lacks: str) -> None:
    """A checkpoint would leave out what changes in it, and a resumed run would go on with other numbers."""
    (dfa.root / "own" / "rule").mkdir(parents=True)
    (dfa.root / "own" / "half.py").write_text(HALF.format(method=method))
    (dfa.root / "own" / "rule" / "half.yaml").write_text("_target_: half.Counting\nneeds: nothing\n")
    answer = dfa.train("--config-dir", str(dfa.root / "own"), *ROWS, "rule=half")
    assert answer.code == 2
    assert f"Counting lacks the method {lacks}." in answer.sentence


def test_checkpoint_every_must_be_a_whole_number_of_at_least_1(dfa: Dfa) -> None:
    assert dfa.train(*GRAPH, "checkpoint_every=0").sentence.endswith("a whole number of at least 1, or null.")


def test_no_temporary_file_is_left_beside_the_checkpoint(dfa: Dfa) -> None:
    run = interrupted(dfa, *GRAPH, f"epochs={EPOCHS}", "progress=none")
    there = {path.name for path in Path(run.folder).iterdir()}
    assert there == {".hydra", "run.json", "metrics.csv", "run.log", CHECKPOINT}
