"""What has become of a job, read from what it writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dfa_cli.records.curves import progress_of
from dfa_cli.records.run import status
from dfa_cli.sweeps.plan import Point


def look(point: Point, notes: dict[str, dict[str, Any]]) -> None:
    """Bring a point up to date with what its job has written."""
    if point.folder is None:
        return
    note = notes.get(point.folder.name)
    if note is not None:
        state, folder = note["state"], note.get("folder")
        if note.get("identity"):
            point.identity = note["identity"]
        if state == "resumed" and folder is not None:
            point.folder = Path(folder)
            if len(status(point.folder).get("resumed", ())) < note["resumes"]:
                return  # its record is still the old one
        else:
            point.state, point.reason = state, note.get("reason", "")
            point.folder = Path(folder) if folder else None
            if state == "reused" and point.folder is not None:
                summarise(point, status(point.folder))
            return
    record = status(point.folder)
    if record.get("status") == "running":
        if (record.get("provenance") or {}).get("pid") is not None:
            point.state = "running"
            point.epoch, point.accuracy = progress_of(point.folder)
    elif record.get("status") in ("completed", "failed", "interrupted"):
        summarise(point, record)
        point.state = record["status"]
        point.reason = (record.get("error") or {}).get("message", "")


def summarise(point: Point, record: dict[str, Any]) -> None:
    result = record.get("result") or {}
    point.epoch = result.get("last_epoch", 0)
    point.accuracy = result.get("test_accuracy_at_best_validation")
    point.seconds = (record.get("time") or {}).get("total_seconds")
