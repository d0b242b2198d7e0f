"""Freed memory is kept for the next tensor, and what needs too much memory is told in a sentence.

Each test of freed memory has a process of its own, because the setting stays.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from program import Dfa

from dfa_cli.errors import DfaError
from dfa_cli.machine import memory
from dfa_cli.training import setup

ALLOCATIONS = """
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


def measure(kept: bool) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", ALLOCATIONS.format(kept=kept)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@needs_glibc
def test_freed_memory_is_used_again() -> None:
    """Ten buffers of one size: when memory is kept, only the first causes page faults, whatever the page size."""
    assert 4 * measure(kept=True)["faults"] < measure(kept=False)["faults"]


@needs_glibc
def test_the_peak_after_a_reset_leaves_out_memory_that_was_freed_and_kept() -> None:
    found = measure(kept=True)
    assert found["peak"] > SIZE
    assert found["after"] < found["peak"] - SIZE // 2


def test_the_first_import_of_a_library_freezes_its_objects_and_a_second_one_freezes_nothing() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTING], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"inside": False, "frozen": True, "after": True, "again": True}


IMPORTING = """
import gc, json
from dfa_cli.machine.startup import import_undisturbed
with import_undisturbed("wave"):
    import wave
    inside = gc.isenabled()
count = gc.get_freeze_count()
more = [[] for _ in range(1000)]
with import_undisturbed("wave"):
    import wave
    again = gc.isenabled()
found = {"inside": inside, "frozen": count > 1000, "after": gc.isenabled()}
print(json.dumps({**found, "again": again and gc.get_freeze_count() == count}))
"""


def test_without_glibc_the_settings_do_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_glibc", lambda: None)
    memory.keep_freed_memory()
    memory.reset_peak_memory()
    assert memory.peak_bytes() is None or memory.peak_bytes() > 0  # type: ignore[operator]


def test_a_model_that_cannot_be_allocated_is_told_with_its_memory(dfa: Dfa) -> None:
    # A matrix of 8 x 10^13 numbers is larger than the addresses of a process.
    answer = dfa.train("data=digits", "model.hidden=[8,10000000000000]")
    assert answer.code == 2
    assert (
        "The model does not fit into memory: it needs at least 320,000 GB, and this machine has "
        in answer.sentence
    )
    assert answer.sentence.endswith("Choose a smaller model, such as model.hidden=[64,64].")
    assert not dfa.runs()


def test_training_that_needs_more_than_the_machine_has_does_not_begin(
    dfa: Dfa, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A parameter of 4 bytes has a gradient and, by Adam, two more numbers."""
    count = 64 * 8 + 8 + 8 * 10 + 10
    monkeypatch.setattr(setup, "total_bytes", lambda: 16 * count - 1)
    answer = dfa.train("data=digits", "model.hidden=[8]", "optimizer=adam")
    assert answer.code == 2
    assert "What the training keeps of the parameters does not fit into memory" in answer.sentence
    dfa.run("data=digits", "model.hidden=[8]", "optimizer=adam", "epochs=1", "rule=shallow")
    monkeypatch.setattr(setup, "total_bytes", lambda: 16 * count)
    dfa.run("data=digits", "model.hidden=[8]", "optimizer=adam", "epochs=1")


def test_a_failed_allocation_becomes_a_sentence_and_other_errors_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "total_bytes", lambda: 8 * 10**9)
    said = r"^A does not fit into memory: it needs at least 21\.5 GB, and this machine has 8 GB\. B\.$"
    with pytest.raises(DfaError, match=said), memory.shortage_as_sentence("A", "B."):
        raise RuntimeError(
            "DefaultCPUAllocator: can't allocate memory: you tried to allocate 21474836480 bytes. Error code 12"
        )
    said = r"^A does not fit into memory: it needs at least 21\.5 GB\. B\.$"  # it is the memory of the GPU
    with pytest.raises(DfaError, match=said), memory.shortage_as_sentence("A", "B."):
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of"
        )
    with pytest.raises(DfaError, match=r"memory, and this"), memory.shortage_as_sentence("A", "B."):
        raise MemoryError
    with pytest.raises(RuntimeError, match="shape"), memory.shortage_as_sentence("A", "B."):
        raise RuntimeError("shape mismatch")
