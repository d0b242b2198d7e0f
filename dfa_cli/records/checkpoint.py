"""Tells from the head of a checkpoint whether it can be read, and after which epoch the run goes on. Without torch."""

from __future__ import annotations

from pathlib import Path

from dfa_cli.records.checksums import change_of_checkpoint
from dfa_cli.records.run import CHECKPOINT, read_run, record_of

FORMAT = 2  # version of the checkpoint file; 1: one generator for all dropout, one for all noise


def checkpoint_epoch(folder: Path) -> int | None:
    """Returns the epoch of the checkpoint in a run's folder; `None` if it, or the metrics, are damaged or of no use."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / CHECKPOINT, framework="np") as file:
            metadata = file.metadata() or {}
        if metadata.get("format") != str(FORMAT):
            return None
        is_whole = (
            change_of_checkpoint(folder / CHECKPOINT) is None and read_run(folder).change_of_metrics is None
        )
        return int(metadata["epoch"]) if is_whole else None
    except (SafetensorError, OSError, KeyError, ValueError):
        return None


def resumes_after(folder: Path) -> int | None:
    """Returns the epoch after which the run in a folder can go on. `None`: it is completed, or has no checkpoint."""
    return None if record_of(folder).get("status") == "completed" else checkpoint_epoch(folder)
