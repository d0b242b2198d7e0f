"""The record is whole on disk at every moment of a run, however the run ends."""

from __future__ import annotations

import csv
import errno
import logging
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dfa_cli.errors import DfaError
from dfa_cli.machine.files import write_atomically
from dfa_cli.machine.process import process_started
from dfa_cli.records.record import Record
from dfa_cli.records.run import record_of

SIZES = {"train": 10, "validation": 8, "test": 20}


@pytest.fixture(autouse=True)
def _logged(tmp_path: Path) -> Iterator[None]:
    """Writes the log to run.log, as Hydra does."""
    handler = logging.FileHandler(tmp_path / "run.log")
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield
    root.removeHandler(handler)
    root.setLevel(level)
    handler.close()


def head() -> dict[str, Any]:
    return {"id": "0123abcd", "identity": "00112233aabbccdd", "choices": {}, "overrides": [], "config": {}}


def metrics(
    epoch: int, validation: float, loss: float = 1.0, test: float = 0.5, **more: Any
) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "train_loss": 1.0 / epoch,
        "train_accuracy": 0.1,
        "validation_loss": loss,
        "validation_accuracy": validation,
        "test_accuracy": test,
        "seconds": 0.1 * epoch,
        **more,
    }


def table(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_record_is_on_disk_from_the_start_and_whole_at_every_moment(tmp_path: Path) -> None:
    with Record(tmp_path, head()) as record:
        record.begin("a split", SIZES, {})
        first = record_of(tmp_path)
        assert first["status"] == "running"
        assert first["format"] == 1
        assert first["id"] == "0123abcd"
        assert first["result"] is None
        assert first["ended"] is None
        record.add_epoch(metrics(1, 0.5))
        assert len(table(tmp_path)) == 1, "a line is on disk as soon as its epoch has ended"
        record.add_epoch(metrics(2, 0.6))
        assert len(table(tmp_path)) == 2
        record.complete()
    last = record_of(tmp_path)
    assert last["status"] == "completed"
    assert last["ended"] > last["created"]
    assert last["error"] is None
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".tmp"] == []


@pytest.mark.parametrize("seed", range(20))
def test_best_and_last_epoch_are_those_of_the_table(seed: int, tmp_path: Path) -> None:
    """With few different values there are many ties: the higher accuracy wins, the lower loss, the earlier epoch."""
    rng = random.Random(seed)
    with Record(tmp_path, head()) as record:
        record.begin("a split", SIZES, {})
        for epoch in range(1, 13):
            record.add_epoch(
                metrics(epoch, rng.choice([0.5, 0.6, 0.7]), rng.choice([1.0, 0.9]), rng.random())
            )
        record.complete()
    rows = table(tmp_path)
    ranked = sorted(
        rows, key=lambda r: (-float(r["validation_accuracy"]), float(r["validation_loss"]), int(r["epoch"]))
    )
    best, last = ranked[0], rows[-1]
    result = record_of(tmp_path)["result"]
    assert result["best_epoch"] == int(best["epoch"])
    assert result["best_validation_accuracy"] == float(best["validation_accuracy"])
    assert result["test_accuracy_at_best_validation"] == float(best["test_accuracy"])
    assert result["last_epoch"] == 12
    assert result["test_accuracy_at_last_epoch"] == float(last["test_accuracy"])
    assert result["last_train_loss"] == float(last["train_loss"])
    assert result["split"] == "a split"
    assert result["sizes"] == SIZES


def test_the_test_accuracy_plays_no_part_in_the_best_epoch(tmp_path: Path) -> None:
    with Record(tmp_path, head()) as record:
        record.begin("a split", SIZES, {})
        for epoch, test in ((1, 0.1), (2, 0.9)):
            record.add_epoch(metrics(epoch, 0.5, 1.0, test))
        record.complete()
    assert record_of(tmp_path)["result"]["best_epoch"] == 1


def test_numbers_read_back_as_they_were(tmp_path: Path) -> None:
    value = 0.1 + 0.2
    with Record(tmp_path, head()) as record:
        record.begin("a split", SIZES, {})
        record.add_epoch(metrics(1, value))
        record.complete()
    assert float(table(tmp_path)[0]["validation_accuracy"]) == value
    assert record_of(tmp_path)["result"]["best_validation_accuracy"] == value


def test_a_value_that_was_not_measured_is_an_empty_cell(tmp_path: Path) -> None:
    with Record(tmp_path, head()) as record:
        record.begin("a split", SIZES, {})
        record.add_epoch(metrics(1, 0.5, alignment_1=None))
        record.add_epoch(metrics(2, 0.5, alignment_1=0.25))
        record.complete()
    assert [row["alignment_1"] for row in table(tmp_path)] == ["", "0.25"]


def fail(folder: Path, error: BaseException, epochs: int = 2) -> dict[str, Any]:
    with pytest.raises(type(error)), Record(folder, head()) as record:  # noqa: PT012
        for epoch in range(1, epochs + 1):
            record.add_epoch(metrics(epoch, 0.5))
        raise error
    return record_of(folder)


def test_a_failure_keeps_what_was_measured_and_its_traceback(tmp_path: Path) -> None:
    found = fail(tmp_path, ValueError("two\nlines"))
    assert found["status"] == "failed"
    assert found["error"]["type"] == "ValueError"
    assert found["error"]["message"] == "two lines"
    assert found["result"]["last_epoch"] == 2
    assert found["ended"] is not None
    assert len(table(tmp_path)) == 2
    log = (tmp_path / "run.log").read_text()
    assert "Traceback" in log
    assert "ValueError: two" in log


def test_the_log_begins_with_the_run_in_words(tmp_path: Path) -> None:
    choices = {
        "model": "fc",
        "data": "digits",
        "rule": "dfa",
        "device": "opu_sim",
        "device/readout": "off_axis",
    }
    with Record(tmp_path, head() | {"choices": choices, "config": {"rule": {}, "seed": 2}}) as record:
        record.complete()
    first = (tmp_path / "run.log").read_text().splitlines()[0]
    assert first.endswith("fc on digits, trained by dfa on opu_sim, device/readout=off_axis, seed 2")


def test_an_interruption_is_not_a_failure(tmp_path: Path) -> None:
    found = fail(tmp_path, KeyboardInterrupt())
    assert found["status"] == "interrupted"
    assert found["result"]["last_epoch"] == 2
    assert "Traceback" not in (tmp_path / "run.log").read_text()


def test_a_failure_before_the_first_epoch_has_no_result(tmp_path: Path) -> None:
    found = fail(tmp_path, ValueError("early"), epochs=0)
    assert (found["status"], found["result"]) == ("failed", None)


def test_sections_are_merged(tmp_path: Path) -> None:
    with Record(tmp_path, {**head(), "provenance": {"host": "here"}}) as record:
        record.begin("a split", SIZES, {})
        record.update(provenance={"threads": 2}, projection={"rows": 3})
        with record.timed("data_seconds"):
            pass
        record.complete()
    found = record_of(tmp_path)
    assert found["provenance"] == {"host": "here", "threads": 2}
    assert found["projection"] == {"rows": 3}
    assert found["time"]["data_seconds"] >= 0
    assert found["time"]["total_seconds"] >= found["time"]["data_seconds"]
    assert found["peak_memory_mb"] > 1


class TestWriteAtomically:
    def test_a_file_is_replaced(self, tmp_path: Path) -> None:
        write_atomically(tmp_path / "a", "one")
        write_atomically(tmp_path / "a", "two ü")
        assert (tmp_path / "a").read_text("utf-8") == "two ü"

    @pytest.mark.parametrize("step", ["fsync", "replace"])
    def test_a_file_stays_as_it_was_after_a_disk_error(
        self, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_atomically(tmp_path / "a", "one")

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, step, full)
        with pytest.raises(OSError, match="No space"):
            write_atomically(tmp_path / "a", "two")
        monkeypatch.undo()
        assert (tmp_path / "a").read_text() == "one"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "run.log"]


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(DfaError, match=r"outputs=FOLDER") as caught,
        Record(tmp_path / "file" / "run", head()),
    ):
        pass
    assert str(tmp_path / "file" / "run") in str(caught.value)


def test_a_disk_that_runs_full_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """metrics.csv is a link to /dev/full here, so every line meets a full disk."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    (tmp_path / "metrics.csv").symlink_to("/dev/full")
    with pytest.raises(DfaError, match=r"[Nn]o space.*outputs=FOLDER"), Record(tmp_path, head()) as record:  # noqa: PT012
        for epoch in range(1, 1000):
            record.add_epoch(metrics(epoch, 0.5))
    assert record_of(tmp_path)["status"] == "failed"


def test_a_record_that_cannot_be_read_is_empty(tmp_path: Path) -> None:
    assert record_of(tmp_path) == {}
    (tmp_path / "run.json").write_text('{"status": "runn')
    assert record_of(tmp_path) == {}


def test_a_process_has_a_fixed_start_time() -> None:
    if not Path("/proc/self/stat").exists():
        pytest.skip("this system has no /proc")
    assert process_started(os.getpid()) == process_started(os.getpid())
    assert process_started(2**22 + 1) is None


def test_a_zombie_process_is_not_running() -> None:
    if not Path("/proc/self/stat").exists():
        pytest.skip("this system has no /proc")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert process_started(child.pid) is not None
        child.kill()
        end = time.monotonic() + 30
        while process_started(child.pid) is not None:
            assert time.monotonic() < end
            time.sleep(0.01)


def test_ctrl_c_between_a_line_and_its_part_of_the_result_leaves_them_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update_best = Record._update_best

    def interrupted_once(self: Record, *arguments: Any) -> None:
        monkeypatch.setattr(Record, "_update_best", update_best)
        raise KeyboardInterrupt

    def run() -> None:
        with Record(tmp_path, head()) as record:
            record.begin("a split", SIZES, {})
            record.add_epoch(metrics(1, 0.5), {"frames": 10})
            monkeypatch.setattr(Record, "_update_best", interrupted_once)
            record.add_epoch(metrics(2, 0.75, test=0.625), {"frames": 20})

    with pytest.raises(KeyboardInterrupt):
        run()
    found = record_of(tmp_path)
    result = found["result"]
    assert result["last_epoch"] == result["best_epoch"] == len(table(tmp_path)) == 2
    assert result["test_accuracy_at_last_epoch"] == 0.625
    assert found["projection"] == {"frames": 20}


def test_a_folder_takes_no_second_record(tmp_path: Path) -> None:
    with Record(tmp_path, head()) as record:
        record.begin("a split", SIZES, {})
        record.add_epoch(metrics(1, 0.5))
        record.complete()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(DfaError, match="holds the record of another run"), Record(tmp_path, head()):
        pass
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_peak_of_memory_is_the_runs_own(tmp_path: Path) -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("only Linux can reset the peak")
    large = bytearray(600_000_000)
    large[::4096] = b"1" * len(large[::4096])
    del large
    with Record(tmp_path, head()) as record:
        record.begin("a split", SIZES, {})
        record.complete()
    held = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6
    assert record_of(tmp_path)["peak_memory_mb"] < held + 300
