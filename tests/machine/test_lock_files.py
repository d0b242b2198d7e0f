"""A lock has one holder at a time, ends with its process, and is never taken from a process that may be alive."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dfa_cli.machine.locks import SILENT_SECONDS, Holder, LockedError, holder_of, locked

HOLD = """
import sys
from pathlib import Path
from dfa_cli.machine.locks import LockedError, locked
try:
    with locked(Path(sys.argv[1])):
        print("held", flush=True)
        exec(sys.argv[2])
except LockedError as error:
    print("refused", error, flush=True)
"""
WAIT = "sys.stdin.read()"


@contextmanager
def holding(path: Path, then: str = WAIT, before: tuple[str, ...] = (), **more: Any) -> Iterator[Any]:
    """Start a process that tries to hold the lock and then runs a line of Python."""
    process = subprocess.Popen(
        [*before, sys.executable, "-c", HOLD, str(path), then],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **more,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def written_by(path: Path, seconds_ago: float, **differences: Any) -> None:
    """Write a lock as another process would have left it."""
    with locked(path):
        content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **differences}))
    moment = time.time() - seconds_ago
    os.utime(path, (moment, moment))


ELSEWHERE = {"boot": "another", "host": "node7", "pid": 12}


def test_a_second_process_is_told_who_holds_the_lock_until_that_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with holding(path) as first:
        assert said(first) == "held"
        with pytest.raises(LockedError, match=f"process {first.pid} on "), locked(path):
            pass
        with pytest.raises(LockedError), locked(path, force=True):  # it is certain that the holder is alive
            pass
        first.kill()
        first.wait()
        assert path.exists()
        assert holder_of(path) is None
        with locked(path):
            pass
    assert not path.exists()


def test_a_block_inside_another_has_the_same_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    (tmp_path / "link").symlink_to(tmp_path)
    with locked(path) as outer:
        with locked(tmp_path / "link" / "lock") as inner:
            assert inner is outer
        assert path.exists()
        assert holder_of(path) is not None
    assert not path.exists()


def test_a_forked_child_keeps_no_lock_of_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    fork = (
        "import os, time\nif os.fork() == 0: os.close(1); time.sleep(20)\nprint('forked', flush=True); "
        + WAIT
    )
    with holding(path, fork) as process:
        assert said(process) == "held"
        assert said(process) == "forked"
        process.kill()
        process.wait()
        until = time.monotonic() + 10  # the child lives longer
        while holder_of(path) is not None:
            assert time.monotonic() < until
            time.sleep(0.02)


def test_a_child_that_ends_does_not_release_the_lock_of_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path):
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        with holding(path) as other:
            assert said(other).startswith("refused")


def test_a_lock_whose_folder_was_moved_is_no_longer_held_there(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with locked(folder / "lock") as lock:
        assert lock.is_ours()
        folder.rename(tmp_path / "moved")
        assert not lock.is_ours()
        folder.mkdir()
        with holding(folder / "lock") as other:
            assert said(other) == "held"
    assert (folder / "lock").exists()  # the other process holds it


def test_a_holder_under_another_start_of_a_system_counts_as_alive_until_it_has_been_silent(
    tmp_path: Path,
) -> None:
    path = tmp_path / "lock"
    written_by(path, SILENT_SECONDS - 60, **ELSEWHERE)
    holder = holder_of(path)
    assert holder is not None
    assert (holder.host, holder.pid, holder.certain) == ("node7", 12, False)
    with pytest.raises(LockedError, match=r"process 12 on node7, last heard of 5\d\d s ago"), locked(path):
        pass
    with locked(path, force=True) as lock:
        assert lock.is_ours()
    written_by(path, SILENT_SECONDS + 1, **ELSEWHERE)
    assert holder_of(path) is None
    with locked(path):
        pass


def test_slurm_has_ended_the_earlier_start_of_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written_by(tmp_path / "lock", 0.0, **ELSEWHERE, slurm_job="77", slurm_restarts=0)
    assert holder_of(tmp_path / "lock") is not None
    code = (
        "from pathlib import Path; from dfa_cli.machine.locks import holder_of; import sys; "
        "print(holder_of(Path(sys.argv[1])))"
    )
    for restarts, alive in (("0", True), ("1", False)):
        environment = {**os.environ, "SLURM_JOB_ID": "77", "SLURM_RESTART_COUNT": restarts}
        command = [sys.executable, "-c", code, str(tmp_path / "lock")]
        out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        assert (out.strip() != "None") is alive


def test_the_heartbeat_touches_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    quick = "import dfa_cli.machine.locks as locks; locks.HEARTBEAT_SECONDS = 0.05;" + HOLD.replace(
        "\n", "\n", 1
    )
    command = [sys.executable, "-c", quick, str(path), WAIT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert said(process) == "held"
        before = path.stat().st_mtime_ns
        until = time.monotonic() + 10
        while path.stat().st_mtime_ns == before:
            assert time.monotonic() < until
            time.sleep(0.02)
        process.kill()


def test_a_process_in_another_pid_namespace_counts_as_alive(tmp_path: Path) -> None:
    unshare = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc")
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("this system makes no PID namespaces for this user")
    path = tmp_path / "lock"
    with holding(path, before=unshare) as inside:
        assert said(inside) == "held"
        content = json.loads(path.read_text())
        assert content["pid"] < 10  # in its own namespace
        holder = holder_of(path)
        assert holder is not None
        assert holder.certain
        inside.kill()
        inside.wait()
    time.sleep(0.2)
    holder = holder_of(path)
    assert holder is not None  # from here nobody can tell
    assert not holder.certain


def test_without_flock_the_file_itself_is_the_lock(tmp_path: Path, no_flock: dict[str, str]) -> None:
    path = tmp_path / "lock"
    with holding(path, env=no_flock) as first:
        assert said(first) == "held"
        assert isinstance(holder_of(path), Holder)  # asked by a process that has flock
        with holding(path, env=no_flock) as second:
            assert said(second).startswith(f"refused process {first.pid} on ")
        first.kill()
        first.wait()
        with holding(path, env=no_flock) as third:
            assert said(third) == "held"


@pytest.mark.parametrize("has_flock", [True, False])
def test_one_of_many_takes_over_the_lock_of_a_dead_process(
    tmp_path: Path, no_flock: dict[str, str], has_flock: bool
) -> None:
    path = tmp_path / "lock"
    written_by(path, SILENT_SECONDS + 100, **ELSEWHERE, has_flock=has_flock)
    environment = dict(os.environ) if has_flock else no_flock
    command = [sys.executable, "-c", HOLD, str(path), WAIT]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(6)
    ]
    answers = [said(process).split()[0] for process in processes]
    for process in processes:
        process.kill()
        process.communicate()
    assert sorted(answers) == ["held", *["refused"] * 5]
