"""Writes the record of a run: `run.json` and `metrics.csv` in the run's folder, beside `run.log`.

`run.json` is whole at every moment, because it is written under another name and then moved into place. `metrics.csv`
grows by one line per epoch. Each line is flushed at once, so a killed process leaves all that it measured.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from dfa_cli.errors import DfaError
from dfa_cli.machine import signals
from dfa_cli.machine.files import disk_errors_as_sentences, force_onto_disk, write_atomically
from dfa_cli.machine.locks import Lock
from dfa_cli.machine.memory import peak_bytes, reset_peak_memory
from dfa_cli.machine.startup import startup_seconds
from dfa_cli.records.checksums import FILES, sha256_of_file, with_checksum
from dfa_cli.records.code import changed_files
from dfa_cli.records.curves import METRICS, metrics_line, metrics_text, rows_until, steady_seconds
from dfa_cli.records.locks import owned
from dfa_cli.records.result import ResultSoFar
from dfa_cli.records.run import CHECKPOINT, FORMAT, RECORD, record_of
from dfa_cli.records.words import run_in_words

# The result in run.json of a killed run can be this old. metrics.csv is never behind, so `Run.result` reads it instead.
WRITE_EVERY_SECONDS = 2.0

log = logging.getLogger("dfa")


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")


class Record:
    """Writes a run's record from its first moment on.

        with Record(folder, head) as record:
            record.begin(split, sizes, conditions)
            for epoch in train(...):
                record.add_epoch(epoch.row(), projection)
            record.complete()

    `head` holds what is known before the run: id, identity, choices, overrides, configuration, provenance. In the block
    this process owns the folder (`records/locks.py`). An exception that leaves the block sets the status. After a
    signal it is `interrupted`, whatever the exception. Otherwise it is `failed`, and the traceback goes to `run.log`.

    `replaces`: the folder holds an earlier record of the same run. It stays as it is until `begin`, so that a run which
    cannot start again loses nothing.

    Raises `InUseError` when another process owns the folder, and `DfaError` when the folder cannot be written, or the
    disk is full. Unless `replaces` is set, `DfaError` is also raised when the folder already holds a record.
    """

    def __init__(self, folder: Path, head: Mapping[str, Any], replaces: bool = False):
        self.folder = folder
        self._replaces = replaces  # until `begin`
        self._owned = ExitStack()
        self._lock: Lock | None = None
        self.content: dict[str, Any] = {
            "format": FORMAT,
            "id": head["id"],
            "identity": head["identity"],
            "status": "running",
            "created": now(),
            "ended": None,
            "result": None,
            "error": None,
            "time": {} if (startup := startup_seconds()) is None else {"startup_seconds": startup},
            "peak_memory_mb": None,
            "projection": None,
            **head,
        }
        self._began = time.perf_counter()
        reset_peak_memory()  # A sweep may have run other jobs in this process before.
        self._written = -1e9  # long ago: nothing is written yet
        self._table: TextIO | None = None
        self._so_far = ResultSoFar()
        # the metrics of the epoch that is being added, and the cost of the projections so far
        self._pending_epoch: tuple[Mapping[str, Any], dict[str, Any] | None] | None = None
        self._data: dict[str, Any] = {}

    @classmethod
    def reopen(cls, folder: Path, provenance: Mapping[str, Any], parallel: Mapping[str, Any]) -> Record:
        """Opens the record of a run that is resumed. Its content is kept, and this process becomes its writer.

        `parallel`: the configuration of its processes from now on. Their number may have changed.
        """
        content = record_of(folder)
        content.pop(FILES, None)  # The files change from now on.
        resumed = {
            "at": now(),
            "was": content["status"],
            **{name: provenance[name] for name in ("versions", "git")},
            **{name: parallel[name] for name in ("stages", "replicas") if name in parallel},
        }
        this_process = {
            name: provenance[name] for name in ("host", "boot", "pid", "pid_started", "platform", "processor")
        }
        return cls(
            folder,
            {
                **content,
                "status": "running",
                "ended": None,
                "error": None,
                "provenance": {**content["provenance"], **this_process},
                "resumed": [*content.get("resumed", ()), resumed],
            },
            replaces=True,
        )

    def __enter__(self) -> Record:
        self._lock = self._owned.enter_context(owned(self.folder))
        try:
            if not self._replaces:
                if (self.folder / RECORD).exists():
                    raise DfaError(f"{self.folder} holds the record of another run; name another folder.")
                with disk_errors_as_sentences(self.folder):
                    self._write()
            words = run_in_words(self.content["config"], self.content["choices"])
            log.info("run %s (%s) begins: %s", self.content["id"], self.content["identity"], words)
        except BaseException as error:
            if self._written > 0:  # The signal came after the record was there.
                self._fail(error)
            self._owned.close()
            raise
        return self

    def begin(
        self, split: str, sizes: Mapping[str, int], conditions: Mapping[str, Any], after: int = 0
    ) -> list[dict[str, float]]:
        """Records the data set and the conditions that a repetition of the run must share.

        `split` is the name of the data split, and `sizes` the number of rows in each of its parts. `after`: the last
        epoch that a resumed run keeps, which is that of its checkpoint. Returns the lines of `metrics.csv` up to this
        epoch. Later lines are removed. Raises `DfaError` when one of the epochs up to `after` is missing.
        """
        rows = rows_until(self.folder, after) if after else []
        if [row["epoch"] for row in rows] != list(range(1, after + 1)):
            raise DfaError(
                f"{self.folder}/{METRICS} lacks epochs up to {after}, the epoch of the checkpoint; "
                "start the run again with --from-start."
            )
        before = self.content["provenance"].get("data_checksums") if after else None
        if before is not None and before != conditions.get("data_checksums"):
            listed = "; ".join(changed_files(before, conditions["data_checksums"]))
            raise DfaError(
                f"The data set has changed since the run in {self.folder} began: {listed}. One run must not hold two "
                "data sets, so begin again with --from-start."
            )
        self._data = {"split": split, "sizes": dict(sizes)}
        self.update(provenance=conditions)
        if not self._replaces:
            return rows
        self.content["result"] = None
        if after:
            self.content["resumed"][-1]["epoch"] = after
            # The total includes the time before the run was resumed. A killed run has recorded no total, so the
            # seconds in the last line of `metrics.csv` take its place.
            self._began -= self.content["time"].get("total_seconds") or rows[-1]["seconds"]
        for row in rows:
            self._update_best(row)
        with disk_errors_as_sentences(self.folder):
            if not after:
                (self.folder / CHECKPOINT).unlink(missing_ok=True)
            # The record comes before `metrics.csv`, since the earlier record holds the checksum of the earlier file.
            self._write()
            self._replaces = False
            write_atomically(self.folder / METRICS, metrics_text(rows))
        return rows

    def sync(self) -> None:
        """Forces the lines of `metrics.csv` onto the disk, out of the system's cache."""
        self._require_ownership()
        if self._table is not None:
            with disk_errors_as_sentences(self.folder):
                force_onto_disk(self._table.fileno())

    def _require_ownership(self) -> None:
        """Raises `DfaError` when the folder is no longer this process's own, so that it writes into no other run."""
        if self._lock is not None and not self._lock.is_ours():
            raise DfaError(
                f"{self.folder} was moved or deleted, or another process has taken the run over. "
                "This process stops here and writes nothing more."
            )

    def update(self, **sections: Any) -> None:
        """Merges values into top-level sections: `record.update(time={"data_seconds": 0.2})`."""
        for name, value in sections.items():
            if isinstance(value, Mapping) and isinstance(self.content.get(name), dict):
                self.content[name].update(value)
            else:
                self.content[name] = value

    def warn(self, sentences: Iterable[str]) -> None:
        """Adds warnings to the record, each of them once."""
        for sentence in sentences:
            if sentence not in self.content.setdefault("warnings", []):
                self.content["warnings"].append(sentence)
                log.warning(sentence)

    @contextmanager
    def timed(self, name: str, before: float = 0.0) -> Iterator[None]:
        """Times the block, and stores the seconds under `name` in the section `time`, even after an exception.

        `before`: the seconds that were spent before the block; they are added.
        """
        began = time.perf_counter() - before
        try:
            yield
        finally:
            self.content["time"][name] = time.perf_counter() - began

    def add_epoch(self, metrics: Mapping[str, Any], projection: dict[str, Any] | None = None) -> None:
        """Adds a line to `metrics.csv`, and updates the result so far.

        `projection`: the section of that name from now on, the cost of the projections so far.
        Raises `KeyboardInterrupt` if a signal has come that a library swallowed.
        """
        signals.raise_if_received()
        self._pending_epoch = metrics, projection
        with disk_errors_as_sentences(self.folder):
            if self._table is None:
                self._table = self._open_table(list(metrics))
            self._table.write(metrics_line(metrics.values()))
            self._table.flush()
        self._update_best(metrics)
        self.content["projection"] = projection
        self._pending_epoch = None
        if time.perf_counter() - self._written > WRITE_EVERY_SECONDS:
            with disk_errors_as_sentences(self.folder):
                self._write()

    def _update_best(self, metrics: Mapping[str, float]) -> None:
        """Updates the result so far with the metrics of the next epoch."""
        self._so_far.add(metrics)
        self.content["result"] = {**self._data, **self._so_far.values}

    def complete(self, stopped_early: bool = False) -> None:
        """Marks the run as completed, after all its epochs or because early stopping has ended it."""
        if self.content["result"] is not None:
            self.content["result"]["stopped_early"] = stopped_early
        with signals.held_back(), disk_errors_as_sentences(self.folder):
            self._end("completed")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                self._fail(error)
            self._close_table()
        finally:
            self._owned.close()

    def _fail(self, error: BaseException) -> None:
        """Closes the record after an exception. Further signals wait until that is done."""
        if self.content["ended"] is not None:
            return  # The run is completed, and the exception came after that.
        with signals.held_back():
            # A signal that comes during an import, or in a library, can turn into any exception.
            interrupted = not isinstance(error, Exception) or signals.received() is not None
            if interrupted:
                self._apply_pending_epoch()
            result = self.content["result"] or {}
            self.content["error"] = {
                "type": type(error).__name__,
                "message": "interrupted" if interrupted else " ".join(str(error).split()),
                "epoch": getattr(error, "epoch", result.get("last_epoch")),
            }
            if interrupted:
                self.content["error"]["signal"] = signals.received()
                log.warning("interrupted after epoch %s", result.get("last_epoch"))
            else:
                log.error("the run failed", exc_info=error)
            if self._replaces:
                return  # It did not begin, so the earlier record stays as it was.
            try:
                self._end("interrupted" if interrupted else "failed")
            except (OSError, DfaError) as disk_error:
                # Most likely the disk is full, or the folder is gone, and that has also ended the run. The record on
                # disk, if any, still says "running".
                log.error("the record could not be closed: %s", disk_error)

    def _apply_pending_epoch(self) -> None:
        """Adds the pending epoch to the result, if Ctrl-C came after its line in `metrics.csv` was written."""
        if self._pending_epoch is None or self._table is None:
            return
        with suppress(OSError):
            self._table.flush()
        metrics, projection = self._pending_epoch
        epoch = metrics["epoch"]
        if any(row["epoch"] == epoch for row in rows_until(self.folder, epoch)):
            self._update_best(metrics)
            self.content["projection"] = projection

    def _close_table(self) -> None:
        if self._table is not None:
            # Every line was flushed when it was written, so a full disk has been reported by now.
            with suppress(OSError):
                self._table.close()

    def _end(self, status: str) -> None:
        self._close_table()
        with suppress(OSError):  # A run that ended before its first epoch has no such file.
            self.update(files={METRICS: sha256_of_file(self.folder / METRICS)})
            seconds = [row.get("seconds") for row in rows_until(self.folder)]
            self.content["time"]["steady_seconds"] = steady_seconds(seconds)
        self.content["status"] = status
        self.content["ended"] = now()
        self.content["time"]["total_seconds"] = time.perf_counter() - self._began
        peak = peak_bytes()
        self.content["peak_memory_mb"] = None if peak is None else peak / 1e6
        self._write()
        log.info("run %s %s", self.content["id"], status)

    def _write(self) -> None:
        self._require_ownership()
        write_atomically(self.folder / RECORD, with_checksum(self.content))
        self._written = time.perf_counter()

    def _open_table(self, columns: list[str]) -> TextIO:
        self._require_ownership()
        table = open(self.folder / METRICS, "a", newline="", encoding="utf-8")  # noqa: SIM115
        if table.tell() == 0:
            table.write(metrics_line(columns))
        return table
