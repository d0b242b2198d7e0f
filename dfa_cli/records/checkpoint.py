"""Tells from the head of a checkpoint whether it can be read, and after which epoch the run goes on. Without torch."""

from __future__ import annotations

from pathlib import Path

from dfa_cli.records.run import CHECKPOINT, record_of

FORMAT = 1  # version of the checkpoint file


def checkpoint_epoch(folder: Path) -> int | None:
    """Returns the epoch of the checkpoint in a run's folder, or `None` without one that this version can read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / CHECKPOINT, framework="np") as file:
            metadata = file.metadata() or {}
        return int(metadata["epoch"]) if metadata.get("format") == str(FORMAT) else None
    except (SafetensorError, OSError, KeyError, ValueError):
        return None


def resumes_after(folder: Path) -> int | None:
    """Returns the epoch after which the run in a folder can go on. `None`: it is completed, or has no checkpoint."""
    return None if record_of(folder).get("status") == "completed" else checkpoint_epoch(folder)
