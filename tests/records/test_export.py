"""Tests of the export of runs to pandas, spreadsheets, MLflow and TensorBoard."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest
from reading import Call
from run_factory import Factory

from dfa_cli.errors import DfaError


def test_load_gives_one_row_a_run(swept: Path):
    pytest.importorskip("pandas", reason="pandas is not installed")
    from dfa_cli.records.dataframe import load

    table = load(swept)
    assert len(table) == 23
    assert table.index.name == "id"
    assert table["test_accuracy_at_best_validation"].between(0, 1).sum() == 22
    assert str(table["created"].dtype).startswith("datetime64")
    assert table["created"].is_monotonic_decreasing
    assert set(table["model.widths"].map(tuple)) == {(16,)}
    means = table[table.status == "completed"].groupby("rule")["test_accuracy_at_best_validation"].mean()
    assert means["bp"] > means["shallow"]
    assert table[table.status == "failed"]["error"].tolist() == ["the loss is NaN"]
    assert len(load(swept, where="rule=bp")) == 6
    curves = load(swept, where="rule=bp", curves=True)
    assert len(curves) == 6 * 20
    assert set(curves.groupby("id")["epoch"].agg("max").tolist()) == {20}


def test_every_column_of_load_is_documented(swept: Path):
    from dfa_cli.records.dataframe import flat_columns, load
    from dfa_cli.records.find import find
    from dfa_cli.records.measures import BY_NAME

    text = load.__doc__ or ""
    run = find([swept]).runs[0]
    for name in flat_columns(run):
        belongs_to_a_family = name in run.choices or name in run.flat or name in BY_NAME
        assert belongs_to_a_family or f"`{name}`" in text or f"`{name.partition('.')[0]}.*`" in text, name


@pytest.mark.parametrize(
    ("module", "arguments", "words"),
    [
        ("mlflow", ["--to", "mlflow"], r"--to mlflow needs MLflow: pip install mlflow"),
        ("tensorboard", ["--to", "tensorboard"], r"needs TensorBoard: pip install tensorboard"),
    ],
)
def test_a_missing_extra_is_one_sentence(
    swept: Path, call: Call, monkeypatch: pytest.MonkeyPatch, module: str, arguments: list[str], words: str
):
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DfaError, match=words):
        call("export", *arguments)


def test_load_without_pandas_is_one_sentence(swept: Path, monkeypatch: pytest.MonkeyPatch):
    from dfa_cli.records.dataframe import load

    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(DfaError, match="pip install pandas"):
        load(swept)


def test_csv_has_a_line_for_each_run_or_each_epoch(swept: Path, call: Call):
    call("export")
    rows = list(csv.DictReader(Path("dfa-runs.csv").read_text("utf-8").splitlines()))
    assert len(rows) == 23
    assert {row["rule"] for row in rows} == {"bp", "dfa", "shallow"}
    assert rows[0]["optimizer.lr"] == "0.02"
    call("export", "--curves", "--where", "seed=0")
    lines = list(csv.DictReader(Path("dfa-curves.csv").read_text("utf-8").splitlines()))
    assert len(lines) == 4 * 20
    assert lines[0]["epoch"] == "1.0"
    assert lines[0]["alignment_1"] == ""
    with pytest.raises(DfaError, match=r"dfa-runs.csv is already there"):
        call("export")
    with pytest.raises(DfaError, match="'wandb' is not one of"):
        call("export", "--to", "wandb")


def test_csv_has_what_each_stage_sent(factory: Factory, call: Call):
    sent = {"forward": {"messages": 4, "bytes": 8000}, "backward": {"messages": 2, "bytes": 500}}
    first = {
        "blocks": [1, 2],
        "steps": 2,
        "sent": sent,
        "seconds": {"computing": 1.5},
        "timeline": [{"from": 0.0}],
    }
    factory.run(seed=0, record={"parallel": {"stages": [first, {**first, "sent": {}}, None]}})
    factory.run(seed=1)
    call("export")
    lines = csv.DictReader(Path("dfa-runs.csv").read_text("utf-8").splitlines())
    alone, staged = sorted(lines, key=lambda line: line["seed"], reverse=True)
    assert {name: float(text) for name, text in staged.items() if name.startswith("stages.")} == {
        "stages.1.steps": 2,
        "stages.1.sent.forward.messages": 4,
        "stages.1.sent.forward.bytes": 8000,
        "stages.1.sent.backward.messages": 2,
        "stages.1.sent.backward.bytes": 500,
        "stages.1.seconds.computing": 1.5,
        "stages.2.steps": 2,
        "stages.2.seconds.computing": 1.5,
    }
    assert alone["stages.1.steps"] == ""


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_gets_curves_and_final_figures(factory: Factory, call: Call):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    factory.run(seed=0, accuracy=0.81)
    call("export", "--to", "tensorboard")
    (file,) = Path("tensorboard").rglob("events*")
    found = {
        (value.tag, event.step): value.tensor.float_val[0] if value.tensor.float_val else value.simple_value
        for event in EventFileLoader(str(file)).Load()
        for value in event.summary.value
    }
    assert found["result/test_accuracy_at_best_validation", 20] == pytest.approx(0.81)
    assert len([tag for tag, _ in found if tag == "curves/train_loss"]) == 20
    with pytest.raises(DfaError, match="tensorboard is not empty"):
        call("export", "--to", "tensorboard")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_gets_each_run_once_and_again_when_its_status_changes(factory: Factory, call: Call):
    pytest.importorskip("mlflow", reason="MLflow is not installed")
    from mlflow.tracking import MlflowClient

    factory.run(seed=0, accuracy=0.81)
    failed = factory.run(seed=1, status="failed")
    assert "wrote 2 runs" in call("export", "--to", "mlflow", "--out", "store").stderr
    assert "wrote 0 runs" in call("export", "--to", "mlflow", "--out", "store").stderr
    client = MlflowClient(tracking_uri=f"sqlite:///{Path('store/mlflow.db').absolute()}")
    experiment = client.get_experiment_by_name("dfa")
    assert experiment is not None
    runs = {run.data.params["seed"]: run for run in client.search_runs([experiment.experiment_id])}
    assert runs["0"].info.status == "FINISHED"
    assert runs["1"].info.status == "FAILED"
    assert runs["0"].data.params["rule"] == "dfa"
    assert runs["0"].data.metrics["test_accuracy_at_best_validation"] == pytest.approx(0.81)
    assert len(client.get_metric_history(runs["0"].info.run_id, "train_loss")) == 20

    record = failed / "run.json"
    record.write_text(record.read_text().replace('"status": "failed"', '"status": "completed"'))
    wrote_again = call("export", "--to", "mlflow", "--out", "store").stderr
    assert "wrote 1 run " in wrote_again, "a run whose status has changed is exported again"
    again = {run.data.params["seed"]: run for run in client.search_runs([experiment.experiment_id])}
    assert {seed: run.info.status for seed, run in again.items()} == {"0": "FINISHED", "1": "FINISHED"}
