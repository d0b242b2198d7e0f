"""Reads one run from the record in its folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfa_cli.config.identity import modernised
from dfa_cli.config.parts import tuned_names
from dfa_cli.console.output import name_skipped
from dfa_cli.console.values import format_value
from dfa_cli.machine.process import is_running
from dfa_cli.records.checksums import CHANGED, FILES, change_of_file, is_changed
from dfa_cli.records.code import code_in_short
from dfa_cli.records.curves import LARGEST_EPOCH, METRICS, read_curves, rows_until
from dfa_cli.records.result import ResultSoFar

if TYPE_CHECKING:
    from dfa_cli.machine.locks import Holder

# files in a run's folder, beside metrics.csv and run.log
RECORD = "run.json"
CHECKPOINT = "checkpoint.safetensors"
WEIGHTS = "weights.safetensors"
PACKAGES = "packages.txt"
SUMS = ("code", "data.files")  # keys of `Run.flat` that are no keys of the configuration
LOCK = ".lock"  # only while a process owns the folder, or after it was killed

DIGITAL = {"cpu": "cpu", "cuda": "gpu"}  # the digital device that projects on a processor

FORMAT = 1  # the format of run.json; a later version of dfa may write a larger number
ENDED = ("completed", "failed", "interrupted")  # the statuses that a run writes when it ends
UNFINISHED = ("failed", "interrupted", "killed")
STATUSES = ("completed", "running", *UNFINISHED)


class Run:
    """One run as its record describes it. Only `run.json` has been read; `curves` reads `metrics.csv` when asked."""

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
        """When the run began, as ISO 8601 in UTC, so that sorting the text sorts by time."""
        return self.record.get("created") or ""

    @cached_property
    def config(self) -> dict[str, Any]:
        """The configuration under today's names, however old the record is."""
        config = self.record.get("config")
        return modernised(config) if config else {}

    @cached_property
    def choices(self) -> dict[str, Any]:
        """The option chosen of each group. A record without `parallel` or `device/drift` is older than this group.

        `device=auto` counts as the device that it has meant, since the two runs are the same.
        """
        choices = self.record.get("choices")
        if not choices:
            return {}
        device = self.config.get("device")
        if choices.get("device") == "auto" and isinstance(device, dict) and device.get("where") in DIGITAL:
            choices = {**choices, "device": DIGITAL[device["where"]]}
        if isinstance(device, dict) and device.get("where") in DIGITAL:
            # An earlier version also recorded the choices of a simulated device from an earlier job of the sweep.
            choices = {name: option for name, option in choices.items() if not name.startswith("device/")}
        if choices.get("tuned") and not self.provenance.get("config_dir"):
            # An earlier version named the file of tuned values of every combination, also where there is none.
            choices = {**choices, "tuned": choices["tuned"] if choices["tuned"] in tuned_names() else "none"}
        later = ("parallel", "device/drift") if "device/medium" in choices else ("parallel",)
        return {**choices, **{name: choices.get(name, "none") for name in later}}

    @cached_property
    def result(self) -> dict[str, Any]:
        """The result, or the result so far. After a kill it is that of `metrics.csv`, which is ahead of `run.json`."""
        recorded = self.record.get("result") or {}
        if self.record["status"] != "running":
            return recorded
        so_far = ResultSoFar()
        with contextlib.suppress(KeyError, TypeError):  # a table with other columns, or with empty cells
            for row in rows_until(Path(self.folder)):
                so_far.add(row)
        return {**recorded, **so_far.values}

    @property
    def warnings(self) -> list[str]:
        """What the projection device has warned of, one sentence each."""
        return [format_value(sentence) for sentence in self.record.get("warnings") or ()]

    @property
    def provenance(self) -> dict[str, Any]:
        return self.record.get("provenance") or {}

    @cached_property
    def status(self) -> str:
        """The status in the record, or `killed` if it says `running` and no process runs the run any more."""
        if self.record["status"] != "running" or self.owner is not None:
            return self.record["status"]
        # The run may have ended between the reading of its record and the question who owns its folder.
        latest = record_of(self.folder).get("status", "running")
        return "killed" if latest == "running" else latest

    @cached_property
    def owner(self) -> Holder | None:
        """The process that trains the run, continues it or deletes it now, or `None` if there is none."""
        from dfa_cli.machine.locks import Holder, holder_of

        holder = holder_of(Path(self.folder, LOCK))
        made_by = self.provenance
        if holder is not None or self.record["status"] != "running" or "boot" in made_by:
            return holder
        # Versions of dfa that wrote no `boot` did not lock the folder either. Only the machine that trained the run
        # knows of its process.
        host, pid, started = (made_by.get(name) for name in ("host", "pid", "pid_started"))
        if pid is None or host != socket.gethostname():
            return Holder(host=str(host), pid=pid or 0, certain=False)
        return Holder(host=str(host), pid=pid) if is_running(pid, started) else None

    @property
    def code(self) -> dict[str, str | None]:
        """The checksums of the user's own files that the run imported, by their names."""
        code = self.record.get("code") or {}
        return {**(code.get("files") or {}), **(code.get("late") or {})}

    @cached_property
    def flat(self) -> dict[str, Any]:
        """The configuration with dotted keys: `{"optimizer.lr": 0.01, ...}`. A list stays one value.

        The key `code` holds the first digits of a checksum over the user's own code, if the run used any, and
        `data.files` those of a checksum over the files of the data set.
        """
        flat = flatten(self.config)
        for name in ("parallel", "device.drift"):
            if flat.get(name) == {}:
                del flat[name]  # `parallel=none` has no keys. The choice says so already.
        if (code := code_in_short(self.config, self.code)) is not None:
            flat["code"] = code
        if checksums := self.provenance.get("data_checksums"):
            flat["data.files"] = hashlib.sha256(json.dumps(checksums, sort_keys=True).encode()).hexdigest()[
                :8
            ]
        return flat

    @cached_property
    def change_of_metrics(self) -> str | None:
        """How `metrics.csv` of a run that has ended differs from what dfa has written; `None` if it does not."""
        if self.record["status"] == "running":
            return None
        expected = (self.record.get(FILES) or {}).get(METRICS)
        return change_of_file(os.path.join(self.folder, METRICS), expected)

    @cached_property
    def curves(self) -> dict[str, list[float | None]]:
        """The columns of `metrics.csv`, one value per epoch, with `None` where nothing was measured.

        A file that was changed after dfa wrote it has no columns, and is named on standard error.
        """
        if self.change_of_metrics:
            name_skipped([(self.folder, self.change_of_metrics)])
            return {}
        return read_curves(self.folder)

    def __repr__(self) -> str:
        return f"Run({self.id}, {self.status}, {self.folder})"


def flatten(tree: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Turns nested keys into dotted ones: `{"a": {"b": 1}}` -> `{"a.b": 1}`. An empty dictionary stays a value."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            flat.update(flatten(value, f"{before}{name}."))
        else:
            flat[f"{before}{name}"] = value
    return flat


def read_run(folder: str | os.PathLike[str]) -> Run:
    """Reads the run in `folder`. Raises `ValueError`, with a reason for the user, when its record is unusable."""
    folder = os.fspath(folder)
    try:
        with open(os.path.join(folder, RECORD), "rb") as file:
            text = file.read()
        record = json.loads(text)
    except OSError as error:
        raise ValueError(f"run.json cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise ValueError("run.json is damaged: it is not whole JSON") from None
    if not isinstance(record, dict) or "format" not in record or "id" not in record:
        raise ValueError("run.json was not written by dfa")
    if not isinstance(record["format"], int) or record["format"] > FORMAT:
        raise ValueError(
            f"run.json has format {format_value(record['format'])}, "
            f"and this version of dfa reads formats up to {FORMAT}"
        )
    if is_changed(text, record):
        raise ValueError(f"run.json {CHANGED}: its content does not have the checksum at its end")
    if wrong := _wrong_parts(record):
        raise ValueError(f"run.json is damaged: dfa does not write such values for {', '.join(wrong)}")
    return Run(folder, record)


def record_of(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads the content of a run's `run.json`, or returns `{}` where it cannot be read."""
    try:
        return read_run(folder).record
    except ValueError:
        return {}


_ACCURACIES = ("test_accuracy_at_best_validation", "test_accuracy_at_last_epoch", "best_validation_accuracy")
_NOTHING = type(None)
_PART_TYPES: dict[str, tuple[type, ...]] = {  # Most parts may be missing, but none may have another type.
    "id": (str,),
    **dict.fromkeys(("identity", "created", "ended", "data_fallback"), (str, _NOTHING)),
    **dict.fromkeys(("choices", "config"), (dict,)),
    **dict.fromkeys(("result", "error", "time", "projection", "parallel"), (dict, _NOTHING)),
    **dict.fromkeys(("code", "code.files", "code.late"), (dict, _NOTHING)),
    **dict.fromkeys(("result.sizes", "projection.notes", "provenance"), (dict, _NOTHING)),
    **dict.fromkeys(("provenance.versions", "provenance.git", "provenance.data_checksums"), (dict, _NOTHING)),
    FILES: (dict, _NOTHING),
    **dict.fromkeys(("overrides", "warnings"), (list, _NOTHING)),
    "provenance.pid": (int, _NOTHING),
    "provenance.pid_started": (int, float, _NOTHING),
}


def _wrong_parts(record: dict[str, Any]) -> list[str]:
    """Lists the parts of a record that hold something dfa never writes there."""
    wrong = [place for place, kinds in _PART_TYPES.items() if not isinstance(_value_at(record, place), kinds)]
    if not wrong and not all(
        isinstance(choice, (str, _NOTHING)) for choice in (record.get("choices") or {}).values()
    ):
        wrong.append("choices")
    if record.get("status") not in STATUSES:
        wrong.append("status")
    if not wrong and (result := record.get("result")):
        wrong += [f"result.{name}" for name in _ACCURACIES if not _is_accuracy(result.get(name))]
        wrong += [
            f"result.{name}" for name in ("best_epoch", "last_epoch") if not _is_epoch(result.get(name))
        ]
    return wrong


def _is_accuracy(value: Any) -> bool:
    """Tells whether a value is an accuracy, as a fraction, or was not measured."""
    return value is None or (type(value) in (int, float) and 0 <= value <= 1)


def _is_epoch(value: Any) -> bool:
    return value is None or (type(value) is int and 0 <= value <= LARGEST_EPOCH)


def _value_at(record: dict[str, Any], place: str) -> Any:
    """Returns the value at a dotted place of the record, or `None` where there is none."""
    value: Any = record
    for name in place.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value
