"""What a process does with the memory it no longer needs, each in a process of its own: the setting stays."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from dfa_cli.machine import memory

MANY = """
import json, resource
from dfa_cli.machine import memory
kept = {kept}
if kept:
    memory.keep_freed_memory()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def written(megabytes):
    return b"1" * (megabytes * 2**20)

before = faults()
for _ in range(10):
    written(64)
found = {{"faults": faults() - before, "peak": memory.peak_bytes()}}
memory.reset_peak_memory()
found["after"] = memory.peak_bytes()
print(json.dumps(found))
"""
SIZE = 64 * 2**20

needs_glibc = pytest.mark.skipif(memory._glibc() is None, reason="the C library has no such setting")


def tried(kept: bool) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", MANY.format(kept=kept)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@needs_glibc
def test_what_is_freed_is_used_again() -> None:
    """Pages of whatever size: the first of ten takes as many as each of the others would."""
    assert 4 * tried(kept=True)["faults"] < tried(kept=False)["faults"]


@needs_glibc
def test_a_new_job_is_not_charged_with_what_the_one_before_left() -> None:
    found = tried(kept=True)
    assert found["peak"] > SIZE
    assert found["after"] < found["peak"] - SIZE // 2


def test_what_a_library_makes_is_out_of_the_collectors_sight_once() -> None:
    """Garbage of later jobs is not: a second import of the same library changes nothing."""
    done = subprocess.run([sys.executable, "-c", IMPORTING], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"inside": False, "frozen": True, "after": True, "again": True}


IMPORTING = """
import gc, json
from dfa_cli.machine.startup import import_without_gc
with import_without_gc("wave"):
    import wave
    inside = gc.isenabled()
count = gc.get_freeze_count()
more = [[] for _ in range(1000)]
with import_without_gc("wave"):
    import wave
    again = gc.isenabled()
found = {"inside": inside, "frozen": count > 1000, "after": gc.isenabled()}
print(json.dumps({**found, "again": again and gc.get_freeze_count() == count}))
"""


def test_elsewhere_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_glibc", lambda: None)
    memory.keep_freed_memory()
    memory.reset_peak_memory()
    assert memory.peak_bytes() is None or memory.peak_bytes() > 0  # type: ignore[operator]
