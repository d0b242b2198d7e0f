"""`dfa rerun` repeats a run from its record alone, and judges the difference."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from program import Answer, Dfa, Run

WORDS = ["data=digits_graph", "model=gcn", "rule=dfa", "device=opu_sim", "epochs=4", "progress=none"]


def rerun(dfa: Dfa, run: Run) -> Answer:
    return dfa("rerun", run.record["id"], str(dfa.outputs), "--outputs", str(dfa.root / "again"))


def change_provenance(run: Run, **provenance: Any) -> None:
    record = run.record
    record["provenance"] |= provenance
    run.rewrite(record)


def change_last_loss(run: Run, by: float) -> None:
    table = run.folder / "metrics.csv"
    heading, *lines = table.read_text().splitlines()
    cells = lines[-1].split(",")
    cells[1] = repr(float(cells[1]) + by)
    table.write_text("\n".join([heading, *lines[:-1], ",".join(cells)]) + "\n")
    record = run.record
    record["result"]["last_train_loss"] = float(cells[1])
    run.rewrite(record)


@pytest.fixture
def run(dfa: Dfa) -> Run:
    return dfa.run(*WORDS)


def test_the_metrics_match_to_the_last_digit(dfa: Dfa, run: Run) -> None:
    answer = rerun(dfa, run)
    assert answer.code == 0, answer.err
    assert "the metrics match exactly, in 4 epochs" in answer.out
    assert "epoch 4/4" in answer.out, "the record has progress=none, but the terminal of the command decides"
    (again,) = (dfa.root / "again").rglob("run.json")
    assert Run(again.parent).repeatable == run.repeatable
    assert Run(again.parent).weights == run.weights
    assert Run(again.parent).record["identity"] == run.record["identity"]
    assert Run(again.parent).record["id"] != run.record["id"]
    assert "begins" in Run(again.parent).log


def test_differences_of_code_and_versions_are_named(dfa: Dfa, run: Run) -> None:
    versions = {**run.record["provenance"]["versions"], "torch": "1.0"}
    change_provenance(
        run, versions=versions, git={"commit": "0123456789abcdef", "dirty": False}, processor="a cray"
    )
    answer = rerun(dfa, run)
    assert answer.code == 0
    assert "torch: 1.0 before, " in answer.out
    assert "code: commit 0123456789 before, " in answer.out
    assert "processor: a cray before, " in answer.out


@pytest.mark.parametrize(("by", "code", "words"), [(1e-4, 0, "within"), (10.0, 1, "beyond")])
def test_under_other_conditions_a_tolerance_applies(
    dfa: Dfa, run: Run, by: float, code: int, words: str
) -> None:
    change_last_loss(run, by)
    change_provenance(run, versions={"torch": "1.0"})
    answer = rerun(dfa, run)
    assert answer.code == code
    assert "the metrics differ from epoch 4 on (train_loss)" in answer.out
    assert f"{words} the tolerance for other conditions (2.0 % of accuracy, 5.0 % of the loss)" in answer.out


def test_a_difference_under_the_same_conditions_is_a_failure(dfa: Dfa, run: Run) -> None:
    change_last_loss(run, 1e-9)
    change_provenance(run, git={"commit": None, "dirty": None})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dfa_cli.machine.provenance.code_state", lambda: {"commit": None, "dirty": None})
        answer = rerun(dfa, run)
    assert answer.code == 1
    assert "they should match exactly" in answer.out


def test_a_run_without_metrics_is_refused_with_a_sentence(dfa: Dfa, run: Run) -> None:
    (run.folder / "metrics.csv").unlink()
    assert "metrics.csv is gone" in rerun(dfa, run).sentence
    run.rewrite(run.record)
    answer = rerun(dfa, run)
    assert answer.code == 2
    assert answer.sentence.endswith("there is nothing to compare with.")


@pytest.mark.parametrize(
    ("command", "does"), [("resume", "dfa resume goes on with a run"), ("rerun", "dfa rerun repeats a run")]
)
def test_a_recorded_run_takes_no_overrides(command: str, does: str, dfa: Dfa, run: Run) -> None:
    """The answer is the same wherever the word stands, and whether the run is named by its id or by its folder."""
    recorded = shlex.join([word for word in run.record["overrides"] if not word.startswith("seed=")])
    for words in (
        [run.record["id"], str(run.folder.parent), "graph=auto", "seed=7"],
        [str(run.folder), "graph=auto", "seed=7"],
        [str(run.folder), "graph=auto", str(run.folder.parent), "seed=7"],
    ):
        answer = dfa(command, *words)
        assert answer.code == 2
        assert answer.err == (
            f"error: {does} as it was recorded, so it takes no graph=auto seed=7; to train anew with other values, "
            f"type dfa train {recorded} graph=auto seed=7\n"
        )


@pytest.mark.parametrize("command", ["resume", "rerun"])
def test_the_folder_to_look_in_is_given_without_its_key(command: str, dfa: Dfa, run: Run) -> None:
    answer = dfa(command, "last", f"outputs={run.folder.parent}")
    assert answer.code == 2
    assert answer.sentence.endswith(
        f"the folder to look in is given without outputs=: type dfa {command} last {run.folder.parent}"
    )
