"""Turns records into the lines of docs/results.csv: what was run, what was measured, and which code measured it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dfa_cli.config.auto import resolve_auto
from dfa_cli.config.bounds import lookup
from dfa_cli.config.compose import compose_sweep
from dfa_cli.config.identity import identity
from dfa_cli.machine.files import write_atomically
from dfa_cli.records.find import find
from dfa_cli.records.run import Run

Row = dict[str, str]

# Settings that an experiment varies or that differ between the rules.
SETTINGS = (
    "epochs",
    "schedule",
    "weight_decay_on",
    "data.normalize",
    "data.split_seed",
    "model.hidden",
    "model.activation",
    "model.dropout",
    "model.input_dropout",
    "optimizer.lr",
    "optimizer.weight_decay",
    "rule.share_columns",
    "rule.spread_over_edges",
    "device.distribution",
    "device.remove_sum",
    "device.encoding.threshold",
    "device.encoding.bits",
    "device.camera.bits",
    "device.camera.photons",
    "device.camera.read_noise",
    "device.drift.tau",
    "device.drift.walk",
    "device.drift.jitter",
)
CHOICES = ("model", "data", "rule", "device", "readout", "encoding", "drift")
MEASURED = (
    "test",
    "test_at_last_epoch",
    "validation",
    "validation_at_last_epoch",
    "best_epoch",
    "last_epoch",
    "frames",
    "seconds",
)
BLOCKS = range(1, 5)
ALIGNED = [f"{name}_{i}" for name in ("alignment", "matrix_alignment") for i in BLOCKS]
ORIGIN = ("commit", "dirty", "dfa", "torch", "python", "processor")
COLUMNS = ("experiment", "identity", "status", *CHOICES, "seed", *SETTINGS, *MEASURED, *ALIGNED, *ORIGIN)


def collect(
    name: str, words: Sequence[str], outputs: Path, known: Iterable[Row] = ()
) -> tuple[list[Row], int]:
    """Return one line for each configuration of an experiment, and the number of configurations without a line.

    The line is that of the newest completed run, or of the newest failed run where none is completed. Where `outputs`
    has no run, the line is that of `known`, the lines of an earlier table.
    """
    wanted = identities(name, words)
    held_lines = {row["identity"]: {**row, "experiment": name} for row in known}
    ended: dict[str, Run] = {}
    for run in find([outputs]).runs:  # newest first
        key = run.identity or ""
        held = ended.get(key)
        better = held is None or (held.status, run.status) == ("failed", "completed")
        if key in wanted and better and run.status in ("completed", "failed"):
            ended[key] = run
    lines = {one: line(name, ended[one]) if one in ended else held_lines.get(one) for one in wanted}
    found = [row for row in lines.values() if row is not None]
    return found, len(wanted) - len(found)


def identities(name: str, words: Sequence[str]) -> list[str]:
    """Return the identities of the configurations of an experiment."""
    jobs = compose_sweep([f"experiment={name}", *words])
    return list(dict.fromkeys(identity(resolve_auto(job.config), job.code.checksums) for job in jobs))


def line(name: str, run: Run) -> Row:
    """Return one run as a line of text cells."""
    projection = run.record.get("projection")
    projects = projection is not None
    origin = run.provenance
    versions, git = origin.get("versions") or {}, origin.get("git") or {}
    row = {
        "experiment": name,
        "identity": run.identity,
        "status": run.status,
        **{key: run.choices.get(key) for key in ("model", "data", "rule")},
        "device": run.choices.get("device") if projects else None,
        "readout": run.choices.get("device/readout") if projects else None,
        "encoding": run.choices.get("device/encoding") if projects else None,
        "drift": run.choices.get("device/drift") if projects else None,
        "seed": run.config.get("seed"),
        **{key: _setting(run, key, projects) for key in SETTINGS},
        "test": run.result.get("test_accuracy_at_best_validation"),
        "test_at_last_epoch": run.result.get("test_accuracy_at_last_epoch"),
        "validation": run.result.get("best_validation_accuracy"),
        "validation_at_last_epoch": next(reversed(run.curves.get("validation_accuracy", [])), None),
        "best_epoch": run.result.get("best_epoch"),
        "last_epoch": run.result.get("last_epoch"),
        "frames": projection["frames"] if projection else None,
        "seconds": run.record.get("time", {}).get("total_seconds"),
        **{column: _last(run, column) for column in ALIGNED},
        "commit": str(git.get("commit") or "")[:12],
        "dirty": git.get("dirty"),
        **{key: versions.get(key) for key in ("dfa", "torch", "python")},
        "processor": origin.get("processor"),
    }
    return {key: _text(value) for key, value in row.items()}


def _setting(run: Run, key: str, projects: bool) -> Any:
    if key.startswith("device.") and not projects:
        return None
    return lookup(run.config, key)[0]


def _last(run: Run, column: str) -> float | None:
    """Return the last measured value of a column, or `None` when the run does not have the column."""
    if run.config.get("alignment_every") is None:
        return None
    return next((value for value in reversed(run.curves.get(column, [])) if value is not None), None)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value)


def read(path: Path) -> list[Row]:
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        # A table that is older than a column has empty cells in that column.
        return [{column: row.get(column) or "" for column in COLUMNS} for row in csv.DictReader(file)]


def write(path: Path, rows: Iterable[Row]) -> None:
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, file.getvalue())
