"""One run, as its record tells it."""

from __future__ import annotations

import json
import os
import socket
from functools import cached_property
from typing import Any

from dfa_cli.config.identity import modernised
from dfa_cli.records.curves import read_curves

# in a run's folder, beside metrics.csv and run.log
RECORD = "run.json"
CHECKPOINT = "checkpoint.safetensors"
WEIGHTS = "weights.safetensors"

FORMAT = 1  # of run.json; a larger one comes from a later version of dfa
ENDED = ("completed", "failed", "interrupted")  # what a record says of a run that has come to an end
UNFINISHED = ("failed", "interrupted", "killed")
STATUSES = ("completed", "running", *UNFINISHED)


class Run:
    """One run, as its record tells it. Only `run.json` has been read; `curves` opens `metrics.csv`."""

    def __init__(self, folder: str, record: dict[str, Any]):
        self.folder = folder
        self.record = record

    @property
    def id(self) -> str:
        return self.record["id"]

    @property
    def identity(self) -> str | None:
        return self.record.get("identity")

    @property
    def created(self) -> str:
        """When the run began: ISO 8601 in UTC, so that text order is the order of time."""
        return self.record.get("created") or ""

    @cached_property
    def config(self) -> dict[str, Any]:
        """The configuration with today's names, whatever the age of the record."""
        config = self.record.get("config")
        return modernised(config) if config else {}

    @property
    def choices(self) -> dict[str, Any]:
        return self.record.get("choices") or {}

    @property
    def result(self) -> dict[str, Any]:
        return self.record.get("result") or {}

    @property
    def provenance(self) -> dict[str, Any]:
        return self.record.get("provenance") or {}

    @cached_property
    def status(self) -> str:
        """The record's status; `killed` for a run that says `running` and whose process on this host is
        gone."""
        status = self.record["status"]
        made_by = self.provenance
        if status == "running" and made_by.get("host") == socket.gethostname() and made_by.get("pid"):
            from dfa_cli.machine.process import alive

            return "running" if alive(made_by["pid"], made_by.get("pid_started")) else "killed"
        return status

    @cached_property
    def flat(self) -> dict[str, Any]:
        """The configuration with dotted keys: `{"optimizer.lr": 0.01, ...}`; lists stay whole."""
        return flatten(self.config)

    @cached_property
    def curves(self) -> dict[str, list[float | None]]:
        """The columns of `metrics.csv`, one value an epoch, `None` where nothing was measured."""
        return read_curves(self.folder)

    def __repr__(self) -> str:
        return f"Run({self.id}, {self.status}, {self.folder})"


def flatten(tree: dict[str, Any], before: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` -> `{"a.b": 1}`; an empty dictionary is a value."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            flat.update(flatten(value, f"{before}{name}."))
        else:
            flat[f"{before}{name}"] = value
    return flat


def read_run(folder: str | os.PathLike[str]) -> Run:
    """Reads the run in `folder`. Raises `ValueError`, with the reason in words, when its record is no good."""
    folder = os.fspath(folder)
    try:
        with open(os.path.join(folder, RECORD), "rb") as file:
            record = json.loads(file.read())
    except OSError as error:
        raise ValueError(f"run.json cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise ValueError("run.json is damaged: it is not whole JSON") from None
    if not isinstance(record, dict) or "format" not in record or "id" not in record:
        raise ValueError("run.json was not written by dfa")
    if not isinstance(record["format"], int) or record["format"] > FORMAT:
        raise ValueError(
            f"run.json has format {record['format']}, and this version of dfa reads up to {FORMAT}"
        )
    if wrong := _wrong_parts(record):
        raise ValueError(f"run.json is damaged: {', '.join(wrong)} cannot be what dfa wrote")
    return Run(folder, record)


def record_of(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads the content of a run's `run.json`; empty where there is none that can be read."""
    try:
        return read_run(folder).record
    except ValueError:
        return {}


_NOTHING = type(None)
_SHAPE: dict[str, tuple[type, ...]] = {  # a part may always be missing, but never be something else
    "id": (str,),
    **dict.fromkeys(("identity", "created", "ended", "data_fallback"), (str, _NOTHING)),
    **dict.fromkeys(("choices", "config", "result", "error", "time", "projection"), (dict, _NOTHING)),
    **dict.fromkeys(("result.sizes", "projection.notes", "provenance"), (dict, _NOTHING)),
    **dict.fromkeys(("provenance.versions", "provenance.git", "provenance.data_checksums"), (dict, _NOTHING)),
    "overrides": (list, _NOTHING),
    "provenance.pid": (int, _NOTHING),
    "provenance.pid_started": (int, float, _NOTHING),
}


def _wrong_parts(record: dict[str, Any]) -> list[str]:
    """The parts of a record that hold what dfa never writes there."""
    wrong = [place for place, kinds in _SHAPE.items() if not isinstance(_at(record, place), kinds)]
    if not wrong and not all(
        isinstance(held, (str, _NOTHING)) for held in (record.get("choices") or {}).values()
    ):
        wrong.append("choices")
    if record.get("status") not in STATUSES:
        wrong.append("status")
    return wrong


def _at(record: dict[str, Any], place: str) -> Any:
    """What a dotted place of the record holds; `None` where the way there ends."""
    held: Any = record
    for name in place.split("."):
        held = held.get(name) if isinstance(held, dict) else None
    return held
