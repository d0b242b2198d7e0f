"""`dfa export`: writes runs for other tools to read (CSV, MLflow, TensorBoard)."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from dfa_cli.console.output import check_free, write_file
from dfa_cli.console.table import csv_text
from dfa_cli.console.values import format_value, number
from dfa_cli.errors import DfaError, one_of
from dfa_cli.machine.files import disk_errors_as_sentences, write_atomically
from dfa_cli.records.dataframe import flat_columns
from dfa_cli.records.fallback import data_of
from dfa_cli.records.measures import METRICS
from dfa_cli.records.run import Run

TARGETS = ("csv", "mlflow", "tensorboard")
_MLFLOW_STATUS = {"completed": "FINISHED", "running": "RUNNING", "killed": "KILLED", "interrupted": "KILLED"}


def export_target(to: str, out: Path | None, force: bool, curves: bool) -> Path:
    """Returns the path to export to: `out`, or the default path of the tool `to`.

    Raises `DfaError` for an unknown tool, and for a target that would be overwritten.
    """
    if to not in TARGETS:
        raise DfaError(f"--to: {one_of(to, TARGETS)}")
    if curves and to != "csv":
        raise DfaError(f"--curves works only with --to csv; leave it out, {to} gets every curve anyway")
    path = out or Path(
        {"csv": "dfa-curves.csv" if curves else "dfa-runs.csv", "mlflow": "mlruns"}.get(to, to)
    )
    if to == "csv":
        if path.suffix.lower() != ".csv":
            raise DfaError(f"--out {path}: the name must end in .csv, because --to csv writes one file")
        check_free(path, force)
    elif path.is_file():
        raise DfaError(f"{path} is a file, and {to} needs a folder; name one with --out=FOLDER")
    elif to == "tensorboard" and path.is_dir() and any(path.iterdir()) and not force:
        raise DfaError(f"{path} is not empty; give --force to add to it, or another folder with --out")
    return path


def export_runs(runs: Sequence[Run], to: str, path: Path, force: bool = False, curves: bool = False) -> int:
    """Exports `runs` to the tool `to`, and returns how many were written."""
    if to == "csv":
        write_file(path, curves_csv(runs) if curves else runs_csv(runs), force)
        return len(runs)
    return to_mlflow(runs, path) if to == "mlflow" else to_tensorboard(runs, path)


def runs_csv(runs: Sequence[Run]) -> str:
    """Formats the runs as CSV: one line per run, with the columns of `load`."""
    return csv_text([flat_columns(run) for run in runs])


def curves_csv(runs: Sequence[Run]) -> str:
    """Formats the curves as CSV: one line for each epoch of each run."""
    return csv_text(
        [
            {"id": run.id, **{name: values[i] for name, values in run.curves.items()}}
            for run in runs
            for i in range(len(run.curves.get("epoch", ())))
        ]
    )


def to_mlflow(runs: Sequence[Run], path: Path) -> int:
    """Writes the runs to the MLflow store `mlflow.db` below `path`, as experiment `dfa`.

    Returns how many runs were written. A run that is already in the store is skipped, unless it was still running when
    it was exported, or its status has changed since. Such a run is replaced.
    """
    try:
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.tracking import MlflowClient
    except ImportError:
        raise DfaError("--to mlflow needs MLflow: pip install mlflow") from None
    with disk_errors_as_sentences(path, "--out=FOLDER"):
        path.mkdir(parents=True, exist_ok=True)
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # otherwise it logs each table of its database
    store = path.absolute() / "mlflow.db"
    if not store.exists():
        # MLflow makes its tables in many steps. A store that was killed in the midst of them could never be opened.
        part = store.with_name(f".{store.name}.{os.getpid()}.tmp")
        MlflowClient(tracking_uri=f"sqlite:///{part}").search_experiments()
        os.replace(part, store)
    client = MlflowClient(tracking_uri=f"sqlite:///{store}")
    experiment = client.get_experiment_by_name("dfa")
    experiment_id = (
        experiment.experiment_id
        if experiment
        else client.create_experiment("dfa", artifact_location=(path.absolute() / "artifacts").as_uri())
    )
    count = 0
    for run in runs:
        exported = client.search_runs([experiment_id], f"tags.dfa_id = '{run.id}'")
        if any(earlier.data.tags.get("dfa_status") == run.status != "running" for earlier in exported):
            continue
        for earlier in exported:
            client.delete_run(earlier.info.run_id)
        start_time = _milliseconds(run.created)
        created = client.create_run(
            experiment_id, start_time=start_time, run_name=run.id, tags={"dfa_id": run.id}
        )
        run_id = created.info.run_id
        # MLflow takes at most 6000 characters as the value of a parameter.
        params = [Param(key, format_value(value)[:6000]) for key, value in _parameters(run).items()]
        metrics = [
            Metric(metric.name, value, start_time, 0)
            for metric in METRICS
            if (value := metric.value_of(run)) is not None
        ]
        for column, epoch, value in _points(run):
            metrics.append(Metric(column, value, start_time, epoch))
        tags = [
            RunTag("identity", format_value(run.identity)),
            RunTag("folder", run.folder),
        ]
        # MLflow takes at most 100 parameters in one call.
        for start in range(0, max(len(metrics), len(params), 1), 100):
            client.log_batch(
                run_id, metrics[start : start + 100], params[start : start + 100], tags if start == 0 else []
            )
        end_time = _milliseconds(run.record.get("ended") or run.created)
        client.set_terminated(run_id, _MLFLOW_STATUS.get(run.status, "FAILED"), end_time=end_time)
        # The status comes last: without it the run is not whole, and the next export replaces it.
        client.set_tag(run_id, "dfa_status", run.status)
        count += 1
    return count


def to_tensorboard(runs: Sequence[Run], path: Path) -> int:
    """Writes TensorBoard event files below `path`, one folder a run, and returns how many runs were written.

    The curves and the final figures of a run become scalars.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
        from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError:
        raise DfaError("--to tensorboard needs TensorBoard: pip install tensorboard") from None
    for run in runs:
        chosen = [
            data_of(run).replace(" ", "_") if name == "data" else format_value(run.choices[name])
            for name in ("model", "data", "rule", "device")
            if run.choices.get(name)
        ]
        folder = path / f"{'-'.join(chosen).replace('/', '_')}_{run.id}"
        began = _milliseconds(run.created) / 1000
        seconds = dict(zip(run.curves.get("epoch", []), run.curves.get("seconds", []), strict=False))
        points = [(f"curves/{column}", epoch, value) for column, epoch, value in _points(run)]
        last_epoch = int(number(run.result.get("last_epoch")) or 0)
        points += [
            (f"result/{metric.name}", last_epoch, value)
            for metric in METRICS
            if (value := metric.value_of(run)) is not None
        ]
        # The writer grows its file, and a killed export must leave no part of one.
        with tempfile.TemporaryDirectory() as elsewhere, disk_errors_as_sentences(folder, "--out=FOLDER"):
            writer = EventFileWriter(elsewhere)
            for name, epoch, value in points:
                summary = Summary(value=[Summary.Value(tag=name, simple_value=value)])
                writer.add_event(
                    Event(wall_time=began + (seconds.get(epoch) or 0.0), step=epoch, summary=summary)
                )
            writer.close()
            folder.mkdir(parents=True, exist_ok=True)
            # With --force the folder may hold an earlier export of this run, which would show each point twice.
            earlier = list(folder.glob("events.out.tfevents.*"))
            for file in Path(elsewhere).iterdir():
                write_atomically(folder / file.name, file.read_bytes())
            for file in earlier:
                file.unlink()
    return len(runs)


def _parameters(run: Run) -> dict[str, Any]:
    return {**run.choices, **run.flat}


def _points(run: Run) -> list[tuple[str, int, float]]:
    """Lists all measured points of the curves as (column, epoch, value)."""
    epochs = run.curves.get("epoch", [])
    return [
        (name, int(epoch), value)
        for name, curve in run.curves.items()
        if name != "epoch"
        for epoch, value in zip(epochs, curve, strict=False)
        if epoch is not None and value is not None
    ]


def _milliseconds(moment: str) -> int:
    """Converts a time of the record into milliseconds since 1970; 0 if the time cannot be read."""
    try:
        return int(1000 * datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp())
    except ValueError:
        return 0
