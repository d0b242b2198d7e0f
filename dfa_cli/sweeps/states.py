"""Finds out the state of a job from the record and the note that it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dfa_cli.records.curves import progress_of
from dfa_cli.records.run import record_of
from dfa_cli.sweeps.notes import note_name
from dfa_cli.sweeps.plan import SweepRun


def update_from_disk(run: SweepRun, sweep_folder: Path, notes: dict[str, dict[str, Any]]) -> None:
    """Update the state of a run of the sweep in `sweep_folder` from its job's note, or else from its record."""
    if run.folder is None:
        return
    note = notes.get(note_name(sweep_folder, run.folder))
    if note is not None:
        state, folder = note["state"], note.get("folder")
        if note.get("identity"):
            run.identity = note["identity"]
        if state == "resumed" and folder is not None:
            if len(record_of(folder).get("resumed", ())) < note["resumes"]:
                return  # the job has not reopened the record yet, so the record shows the old state
            run.folder = Path(folder)
        else:
            run.state, run.reason = state, note.get("reason", "")
            run.folder = Path(folder) if folder else None
            if state == "reused" and run.folder is not None:
                copy_result(run, record_of(run.folder))
            return
    record = record_of(run.folder)
    if record.get("status") == "running":
        if (record.get("provenance") or {}).get("pid") is not None:
            run.state = "running"
            run.epoch, run.accuracy = progress_of(run.folder)
    elif record.get("status") in ("completed", "failed", "interrupted"):
        copy_result(run, record)
        run.state = record["status"]
        error = record.get("error") or {}
        run.reason = f"by {error['signal']}" if error.get("signal") else error.get("message", "")


def copy_result(run: SweepRun, record: dict[str, Any]) -> None:
    """Copy from the record of an ended run what the display shows."""
    result = record.get("result") or {}
    run.epoch = result.get("last_epoch", 0)
    run.accuracy = result.get("test_accuracy_at_best_validation")
    run.seconds = (record.get("time") or {}).get("total_seconds")
