"""Reads the folders that runs leave, without help of `dfa_cli`, and notices when something there is lost or doubled."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studies.reliability.report import DIFFERENT, DOUBLED, FAILED, LOST

RECORD, METRICS, WEIGHTS, CHECKPOINT = (
    "run.json",
    "metrics.csv",
    "weights.safetensors",
    "checkpoint.safetensors",
)
REMOVED = ".removed-"
Finding = tuple[str, str]  # a kind of the report, and a sentence


@dataclass(frozen=True)
class State:
    """The folder of a run at one moment.

    `status`: as in the record, which calls a killed run running. `lines`: the whole lines of metrics.csv below its
    heading, without the seconds. `checkpoint`: the epoch of the checkpoint, or `None` without one. `digest`: of record,
    metrics and weights.
    """

    status: str
    lines: tuple[str, ...]
    checkpoint: int | None
    digest: str

    @property
    def completed(self) -> bool:
        return self.status == "completed"


def read_state(folder: Path) -> State | None:
    """Read the state of a run, or return `None` when the folder has no record.

    Raises `ValueError` when one of its files is not whole.
    """
    if not (folder / RECORD).is_file():
        return None
    record = record_of(folder)
    # The lines come before the checkpoint: a run that is still training has no lines then that a resume may remove.
    lines = metrics_lines(folder)
    return State(record["status"], lines, checkpoint_epoch(folder), _digest(folder))


def record_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / RECORD).read_text("utf-8"))


def metrics_lines(folder: Path) -> tuple[str, ...]:
    """Read the whole lines of metrics.csv without their seconds. The first line is the heading; it is left out."""
    try:
        heading, *lines = (folder / METRICS).read_text("utf-8").split("\n")
    except FileNotFoundError:
        return ()
    seconds = heading.split(",").index("seconds") if lines else 0
    return tuple(",".join(_without(line.split(","), seconds)) for line in lines[:-1])


def _without(cells: list[str], index: int) -> list[str]:
    return cells[:index] + cells[index + 1 :]


def checkpoint_epoch(folder: Path) -> int | None:
    """Read the epoch of the checkpoint. Raises `ValueError` when the file is cut short."""
    try:
        content = (folder / CHECKPOINT).read_bytes()
    except FileNotFoundError:
        return None
    return int(_tensor_header(content)["__metadata__"]["epoch"])


def _tensor_header(content: bytes) -> dict[str, Any]:
    """Read the header of a safetensors file, and check that the file has all bytes that the header announces."""
    start = 8 + int.from_bytes(content[:8], "little")
    header: dict[str, Any] = json.loads(content[8:start])
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    if len(content) != start + max(ends, default=0):
        raise ValueError("a safetensors file is cut short")
    return header


def _digest(folder: Path) -> str:
    content = hashlib.sha256()
    for name in (RECORD, METRICS, WEIGHTS):
        path = folder / name
        content.update(path.read_bytes() if path.is_file() else b"none")
    return content.hexdigest()


def run_folders(top: Path) -> list[Path]:
    """List the folders below `top` that hold a record, without those that `dfa clean` is deleting."""
    return sorted(
        path.parent for path in top.rglob(RECORD) if not any(part.startswith(REMOVED) for part in path.parts)
    )


def half_removed(top: Path) -> list[Path]:
    return sorted(top.rglob(f"{REMOVED}*"))


def tree_digest(top: Path) -> dict[str, str]:
    """Map each file below `top` to a digest of its content."""
    return {
        str(path.relative_to(top)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(top.rglob("*"))
        if path.is_file()
    }


class Ledger:
    """Remembers the runs of an output folder, and says at each look what has gone wrong since the last one."""

    def __init__(self, top: Path):
        self.top = top
        self._known: dict[Path, State] = {}

    def look(self, restarted: Collection[Path] = (), removable: bool = False) -> list[Finding]:
        """Compare with the last look.

        `restarted`: folders whose runs were asked to begin again. `removable`: unfinished runs may be gone, because
        `dfa clean` was called.
        """
        wrong: list[Finding] = []
        now: dict[Path, State] = {}
        for folder in run_folders(self.top):
            try:
                if (state := read_state(folder)) is not None:
                    now[folder] = state
                    wrong += _wrong_in(folder, state)
            except FileNotFoundError:  # It was deleted in this instant, by a process that still runs.
                continue
            except (ValueError, KeyError) as error:
                wrong.append((LOST, f"{folder.name}: a file is not whole ({type(error).__name__}: {error})"))
        for folder, before in self._known.items():
            state = now.get(folder)
            if state is None:
                if before.completed or not removable:
                    wrong.append((LOST, f"{folder.name}: the run, which was {before.status}, is gone"))
            elif folder not in restarted:
                wrong += [(LOST, f"{folder.name}: {reason}") for reason in _lost(before, state)]
        self._known = now
        return wrong


def _lost(before: State, now: State) -> list[str]:
    if before.completed:
        return [] if now.digest == before.digest else ["the files of the completed run have changed"]
    reasons = []
    if before.checkpoint is not None and not now.completed:
        if now.checkpoint is None:
            reasons.append(f"the checkpoint of epoch {before.checkpoint} is gone")
        elif now.checkpoint < before.checkpoint:
            reasons.append(f"the checkpoint is of epoch {now.checkpoint}, and was of {before.checkpoint}")
    # A resumed run measures the epochs after its checkpoint again.
    kept = before.lines[: before.checkpoint]
    if now.lines[: len(kept)] != kept:
        reasons.append(f"of {len(kept)} measured epochs, {len(now.lines)} are left, or they have changed")
    return reasons


def _wrong_in(folder: Path, state: State) -> list[Finding]:
    """List what is wrong in the folder of one run, whatever was there before."""
    wrong: list[Finding] = []
    if state.status == "failed":
        error = record_of(folder).get("error")
        wrong.append((FAILED, f"{folder.name}: the record says failed: {error}"))
    epochs = [line.split(",")[0] for line in state.lines]
    if twice := [epoch for epoch, count in Counter(epochs).items() if count > 1]:
        wrong.append((DOUBLED, f"{folder.name}: epochs {', '.join(twice[:5])} stand twice in metrics.csv"))
    elif epochs != [str(epoch) for epoch in range(1, len(epochs) + 1)]:
        wrong.append((LOST, f"{folder.name}: epochs are missing in metrics.csv: {', '.join(epochs)}"))
    if state.completed:
        wrong += _wrong_in_completed(folder, state)
    return wrong


def _wrong_in_completed(folder: Path, state: State) -> list[Finding]:
    wrong: list[Finding] = []
    last = (record_of(folder).get("result") or {}).get("last_epoch")
    if last != len(state.lines):
        wrong.append((LOST, f"{folder.name}: {len(state.lines)} epochs in metrics.csv, {last} in the record"))
    try:
        _tensor_header((folder / WEIGHTS).read_bytes())
    except (OSError, ValueError) as error:
        wrong.append((LOST, f"{folder.name}: the weights are not whole: {error}"))
    log = folder / "run.log"
    if not log.is_file() or not (folder / ".hydra" / "config.yaml").is_file():
        wrong.append((LOST, f"{folder.name}: run.log or .hydra/ is missing"))
    elif (count := sum(line.endswith(" completed") for line in log.read_text("utf-8").splitlines())) > 1:
        wrong.append((DOUBLED, f"{folder.name}: run.log says {count} times that the run is completed"))
    return wrong


def differences(undisturbed: Path, disturbed: Path) -> list[Finding]:
    """List the differences between the results of two completed runs. Times are not compared."""
    wrong = []
    if metrics_lines(undisturbed) != metrics_lines(disturbed):
        wrong.append("the metrics")
    if (undisturbed / WEIGHTS).read_bytes() != (disturbed / WEIGHTS).read_bytes():
        wrong.append("the weights")
    records = [record_of(folder) for folder in (undisturbed, disturbed)]
    if records[0]["result"] != records[1]["result"]:
        wrong.append("the result in the record")
    costs = [{**(record["projection"] or {}), "measured_seconds": None} for record in records]
    if costs[0] != costs[1]:
        wrong.append("the counts of the device")
    return [(DIFFERENT, f"{disturbed.name}: {part} differ from {undisturbed}") for part in wrong]


def resumes_of(folder: Path) -> int:
    """Count how often the run went on from a checkpoint."""
    return sum("epoch" in entry for entry in record_of(folder).get("resumed", ()))


def file_count(folder: Path) -> int:
    return sum(len(files) for _, _, files in os.walk(folder))
