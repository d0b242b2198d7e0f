"""A run's folder has one owner, and nothing that was measured is lost when two processes want it."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from program import PATIENCE, Dfa, Run

from dfa_cli.errors import DfaError
from dfa_cli.machine.locks import SILENT_SECONDS
from dfa_cli.records.record import Record

SMALL = ("data=digits", "model.hidden=[8]", "device=cpu", "progress=none")
LONG = (*SMALL, "epochs=100000", "checkpoint_every=10")


def wait_for(true: Callable[[], Any], seconds: float = PATIENCE) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def started(dfa: Dfa, folder: Path, *words: str, **more: Any) -> subprocess.Popen[str]:
    """Start a long run, and wait for its first checkpoint."""
    process = dfa.start("train", *dfa.arguments(*LONG, f"hydra.run.dir={folder}", *words), **more)
    wait_for(lambda: (folder / "checkpoint.safetensors").exists() or process.poll() is not None)
    assert process.poll() is None, process.communicate()
    return process


def interrupted_run(dfa: Dfa, *words: str) -> Run:
    """Train three epochs with checkpoints, interrupt the run, and return it."""
    epoch = Record.add_epoch

    def interrupt(self: Record, metrics: Any, *rest: Any) -> None:
        epoch(self, metrics, *rest)
        if metrics["epoch"] == 3:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Record, "add_epoch", interrupt)
        assert dfa.train(*SMALL, "epochs=5", "checkpoint_every=1", *words).code == 130
    return dfa.runs()[-1]


def all_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_one_of_two_runs_gets_the_folder_and_the_other_is_told_who_has_it(dfa: Dfa) -> None:
    folder = dfa.root / "run"
    words = dfa.arguments(*SMALL, "epochs=30", f"hydra.run.dir={folder}")
    processes = [dfa.start("train", *words) for _ in range(2)]
    answers = [process.communicate(timeout=PATIENCE)[1] for process in processes]
    codes = [process.returncode for process in processes]
    assert sorted(codes) == [0, 2], answers
    refusal = answers[codes.index(2)]
    assert "run is in use by process" in refusal or "run is not empty" in refusal
    assert "Traceback" not in "".join(answers)
    names = {".hydra", "run.json", "run.log", "metrics.csv", "packages.txt", "weights.safetensors"}
    assert set(os.listdir(folder)) == names
    run = Run(folder)
    assert run.record["status"] == "completed"
    assert run.record["provenance"]["pid"] == processes[codes.index(0)].pid
    assert len(run.metrics) == 30
    assert "completed" in run.log


def test_a_run_that_is_running_can_be_neither_resumed_nor_cleaned_nor_joined(dfa: Dfa) -> None:
    folder = dfa.root / "run"
    process = started(dfa, folder)
    holder = f"is in use by process {process.pid} on "
    for words in (["resume", str(folder)], ["resume", str(folder), "--from-start", "--force"]):
        answer = dfa(*words)
        assert answer.code == 2
        assert holder in answer.sentence
    refused = dfa("train", *dfa.arguments(*SMALL, f"hydra.run.dir={folder}"))
    assert refused.code == 2
    assert holder in refused.sentence
    assert "nothing to clean" in dfa("clean", str(folder), "--yes", "--force").out
    assert process.poll() is None
    process.kill()
    process.communicate()
    assert (folder / ".lock").exists()
    assert "killed" in dfa("runs", str(folder)).out
    assert "deleted 1 of 1 run" in dfa("clean", str(folder), "--yes").out
    assert not folder.exists()


def test_a_process_whose_folder_was_moved_touches_no_run_that_took_its_place(dfa: Dfa) -> None:
    folder = dfa.root / "run"
    process = started(dfa, folder)
    process.send_signal(signal.SIGSTOP)
    folder.rename(dfa.root / "moved")
    assert dfa("train", *dfa.arguments(*SMALL, "epochs=3", f"hydra.run.dir={folder}")).code == 0
    before = all_files(folder)
    process.send_signal(signal.SIGCONT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2
    assert "was moved or deleted, or another process has taken the run over" in err
    assert all_files(folder) == before
    assert "killed" in dfa("runs", str(dfa.root / "moved")).out


def test_a_refused_run_deletes_no_run_that_took_its_place(dfa: Dfa, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = dfa.root / "run"

    def load(config: Any, code: Any) -> None:
        folder.rename(dfa.root / "moved")
        folder.mkdir()
        (folder / "run.json").write_text("of another run")
        raise DfaError("the data set cannot be had")

    monkeypatch.setattr("dfa_cli.experiment.load_data", load)
    assert dfa("train", *dfa.arguments(*SMALL, f"hydra.run.dir={folder}")).code == 2
    assert (folder / "run.json").read_text() == "of another run"
    assert (dfa.root / "moved" / "run.json").exists()


def test_from_start_deletes_nothing_before_it_can_start(dfa: Dfa, monkeypatch: pytest.MonkeyPatch) -> None:
    run = interrupted_run(dfa)
    before = all_files(run.folder)

    def load(config: Any, code: Any) -> None:
        raise DfaError("the data set cannot be had")

    with monkeypatch.context() as patch:
        patch.setattr("dfa_cli.experiment.load_data", load)
        for words in (["--from-start"], []):
            answer = dfa("resume", str(run.folder), *words)
            assert answer.code == 2
            assert "the data set cannot be had" in answer.err
    after = all_files(run.folder)
    assert after.pop("run.log").startswith(before.pop("run.log"))
    assert after == before

    assert dfa("resume", str(run.folder), "--from-start").code == 0
    assert [int(row["epoch"]) for row in run.metrics] == [1, 2, 3, 4, 5]
    assert run.record["status"] == "completed"
    assert not (run.folder / "checkpoint.safetensors").exists()


def in_namespace(*kinds: str) -> list[str]:
    command = ["unshare", "--user", "--map-root-user", *kinds]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("this system makes no namespaces for this user")
    return command


def test_a_killed_run_of_a_host_with_another_name_is_resumed_once_it_has_been_silent(dfa: Dfa) -> None:
    folder = dfa.root / "run"
    words = dfa.arguments(*LONG[:-2], "epochs=400", "checkpoint_every=10", f"hydra.run.dir={folder}")
    unshare = in_namespace("--uts", "--pid", "--fork", "--kill-child", "--mount-proc")
    command = [sys.executable, "-m", "dfa_cli.cli", "train", *words]
    script = 'hostname container; exec "$@"'
    environment = {**os.environ, **dfa.environment}
    process = subprocess.Popen(
        [*unshare, "sh", "-c", script, "sh", *command],
        cwd=dfa.root,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    wait_for(lambda: (folder / "checkpoint.safetensors").exists() or process.poll() is not None)
    process.kill()
    process.wait()
    assert json.loads((folder / "run.json").read_text())["provenance"]["host"] == "container"
    wait_for(lambda: "certain=False" in repr(_owner(folder)), 10)

    refused = dfa("resume", str(folder))
    assert refused.code == 2
    assert "on container, last heard of" in refused.sentence
    assert "--force" in refused.sentence
    cleaned = dfa("clean", str(folder), "--yes")
    assert "nothing to clean" in cleaned.out
    assert "left 1 run of another machine" in cleaned.err
    assert folder.exists()

    long_ago = time.time() - SILENT_SECONDS - 5
    os.utime(folder / ".lock", (long_ago, long_ago))
    assert "killed" in dfa("runs", str(folder)).out
    assert dfa("resume", str(folder)).code == 0
    assert Run(folder).record["status"] == "completed"


def _owner(folder: Path) -> Any:
    from dfa_cli.records.locks import owner

    return owner(folder)


def test_a_run_that_runs_in_another_pid_namespace_is_not_cleaned(dfa: Dfa) -> None:
    folder = dfa.root / "run"
    unshare = in_namespace("--pid", "--fork", "--kill-child", "--mount-proc")
    words = dfa.arguments(*LONG, f"hydra.run.dir={folder}")
    command = [*unshare, sys.executable, "-m", "dfa_cli.cli", "train", *words]
    with subprocess.Popen(command, cwd=dfa.root, env={**os.environ, **dfa.environment}) as process:
        wait_for(lambda: (folder / "checkpoint.safetensors").exists() or process.poll() is not None)
        assert "running" in dfa("runs", str(folder)).out
        assert "nothing to clean" in dfa("clean", str(folder), "--yes", "--force").out
        assert process.poll() is None
        assert (folder / "run.json").exists()
        process.kill()


def test_force_resumes_a_run_whose_process_nobody_can_ask(dfa: Dfa) -> None:
    run = interrupted_run(dfa)
    record = {**run.record, "status": "running"}
    del record["provenance"]["boot"]  # as an earlier version of dfa wrote it, on another machine
    record["provenance"]["host"] = "node7"
    run.rewrite(record)
    refused = dfa("resume", str(run.folder))
    assert refused.code == 2
    assert "in use by process" in refused.sentence
    assert "dfa resume and dfa clean take --force" in refused.sentence
    assert dfa("resume", str(run.folder), "--force").code == 0
    assert run.record["status"] == "completed"


def test_what_a_killed_clean_has_left_is_removed_by_the_next(
    dfa: Dfa, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = interrupted_run(dfa)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", interrupt)
        assert dfa("clean", str(dfa.outputs), "--yes").code == 130
    assert not run.folder.exists()
    (left,) = run.folder.parent.iterdir()
    assert left.name.startswith(".removed-")
    assert (left / "checkpoint.safetensors").exists()
    assert "nothing to clean" in dfa("clean", str(dfa.outputs), "--yes").out
    assert list(run.folder.parent.iterdir()) == []


class TestAnErrorOfTheDisk:
    """It ends in one sentence, and a completed run stays completed."""

    def test_that_the_folder_was_deleted(self, dfa: Dfa, monkeypatch: pytest.MonkeyPatch) -> None:
        epoch = Record.add_epoch

        def delete(self: Record, metrics: Any, *rest: Any) -> None:
            if metrics["epoch"] == 3:
                shutil.rmtree(self.folder)
            epoch(self, metrics, *rest)

        monkeypatch.setattr(Record, "add_epoch", delete)
        answer = dfa.train(*SMALL, "epochs=5", "checkpoint_every=1")
        assert answer.code == 2
        assert "was moved or deleted" in answer.sentence
        assert "Traceback" not in answer.err
        assert dfa.left() == []

    @pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOENT, errno.EROFS, errno.ENOTCONN])
    def test_in_hydras_folder(self, dfa: Dfa, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
        def fail(config: Any, name: str, folder: Path) -> None:
            raise OSError(number, os.strerror(number), str(folder / name))

        monkeypatch.setattr("hydra.core.utils._save_config", fail)
        answer = dfa.train(*SMALL, "epochs=1")
        assert answer.code == 2
        assert answer.sentence.startswith("error: ")
        assert os.strerror(number) in answer.sentence
        assert len(answer.err.splitlines()) == 1
        assert dfa.left() == []

    def test_in_the_log(self, dfa: Dfa, monkeypatch: pytest.MonkeyPatch) -> None:
        run = interrupted_run(dfa)
        (run.folder / "run.log").unlink()
        (run.folder / "run.log").mkdir()
        answer = dfa("resume", str(run.folder))
        assert answer.code == 2
        assert "cannot be written (Is a directory)" in answer.sentence
        assert run.record["status"] == "interrupted"

        def refuse(self: logging.FileHandler) -> None:
            raise PermissionError(errno.EACCES, "Permission denied", self.baseFilename)

        monkeypatch.setattr("logging.FileHandler._open", refuse)
        answer = dfa.train(*SMALL, "epochs=1")
        assert answer.code == 2
        assert "cannot be written (Permission denied)" in answer.sentence
        assert len(answer.err.splitlines()) == 1

    @pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.ENOTSUP])
    def test_that_it_has_no_fsync_ends_no_run(
        self, dfa: Dfa, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        def fail(descriptor: int) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("os.fsync", fail)
        assert dfa.run(*SMALL, "epochs=2", "checkpoint_every=1").record["status"] == "completed"

    def test_after_the_end_of_a_run_ends_it_well(self, dfa: Dfa, monkeypatch: pytest.MonkeyPatch) -> None:
        unlink = Path.unlink

        def fail(self: Path, missing_ok: bool = False) -> None:
            if self.name == "checkpoint.safetensors":
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(self))
            unlink(self, missing_ok)

        monkeypatch.setattr(Path, "unlink", fail)
        assert dfa.run(*SMALL, "epochs=2", "checkpoint_every=1").record["status"] == "completed"

    def test_in_code_of_the_user_keeps_its_traceback(self, dfa: Dfa, monkeypatch: pytest.MonkeyPatch) -> None:
        def load(config: Any, code: Any) -> None:
            open(dfa.root / "data.csv").close()

        monkeypatch.setattr("dfa_cli.experiment.load_data", load)
        with pytest.raises(FileNotFoundError):
            dfa.train(*SMALL, "epochs=1")


def test_a_run_goes_on_when_the_reader_of_its_output_goes_away(dfa: Dfa) -> None:
    words = dfa.arguments("data=digits", "model.hidden=[8]", "device=cpu", "epochs=300", "progress=lines")
    with dfa.start("train", *words) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("fc [8] on digits")
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(timeout=PATIENCE) == 0
    (run,) = dfa.runs()
    assert run.record["status"] == "completed"
    assert len(run.metrics) == 300


def test_a_run_whose_terminal_is_closed_is_interrupted(dfa: Dfa) -> None:
    words = dfa.arguments("data=digits", "model.hidden=[8]", "device=cpu", "epochs=100000")
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(dfa.environment)
        os.chdir(dfa.root)
        os.execv(sys.executable, [sys.executable, "-m", "dfa_cli.cli", "train", *words])
    try:
        wait_for(
            lambda: any(len(run.metrics) > 3 for run in dfa.runs() if (run.folder / "metrics.csv").exists())
        )
        os.close(terminal)
        _, status = os.waitpid(pid, 0)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(status) == 143
    (run,) = dfa.runs()
    assert run.record["status"] == "interrupted"
    assert run.record["error"]["signal"] == "SIGHUP"


@pytest.mark.parametrize("seconds", [0.05, 0.3, 0.8, 1.5])
def test_a_signal_at_any_moment_of_the_start_leaves_no_traceback(dfa: Dfa, seconds: float) -> None:
    process = dfa.start("train", *dfa.arguments(*LONG))
    time.sleep(seconds)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=PATIENCE)
    # Python itself handles no signal before the program has begun.
    assert process.returncode in (143, -signal.SIGTERM)
    assert "Traceback" not in err
    assert all(run.record["status"] == "interrupted" for run in dfa.runs())
    assert len(list(dfa.outputs.glob("*/*"))) == len(dfa.runs())
