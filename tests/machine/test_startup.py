"""What is set before torch is imported, in every kind of process that the command line starts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

import pytest
from program import PATIENCE, Dfa

from dfa_cli.machine.startup import WAITING

TINY = ("model.hidden=[8]", "epochs=1", "progress=none", "threads=1")
OWN = """import warnings
from dfa_cli.data import Digits
class Own(Digits):
    pass
warnings.warn("old", FutureWarning)
"""

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only GNU's OpenMP tells its settings"
)


def environment(**more: str) -> dict[str, Any]:
    """Return the environment of a process in which nobody has set how threads wait. libgomp tells what it has read."""
    found = {name: value for name, value in os.environ.items() if name not in (*WAITING, "OMP_WAIT_POLICY")}
    return {"env": {**found, "OMP_DISPLAY_ENV": "verbose", **more}}


def spin_counts(output: str) -> set[str]:
    """Return what the copies of GNU's OpenMP in these processes have read."""
    return set(re.findall(r"GOMP_SPINCOUNT = '(\w+)'", output))


def python(program: str, **more: str) -> str:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True, **environment(**more)).stderr


def train(dfa: Dfa, *words: str, **more: str) -> str:
    words = ("train", *dfa.arguments(*words, *TINY))
    with dfa.start(*words, **environment(**{**dfa.environment, **more})) as run:
        _, err = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, err
    return err


def test_threads_of_a_run_soon_sleep(dfa: Dfa) -> None:
    assert spin_counts(train(dfa, "data=digits")) == {"1000"}


@pytest.mark.parametrize(
    ("set_by_user", "expected"),
    [({"GOMP_SPINCOUNT": "77"}, {"77"}), ({"OMP_WAIT_POLICY": "PASSIVE"}, {"0"})],
    ids=["the count", "the policy"],
)
def test_what_the_user_has_set_stays(set_by_user: dict[str, str], expected: set[str]) -> None:
    program = "from dfa_cli.machine.startup import prepare_process; prepare_process(); import torch"
    assert spin_counts(python(program, **set_by_user)) == expected


def test_threads_of_a_sweep_soon_sleep(dfa: Dfa) -> None:
    words = ("data=digits", "seed=1,2", "launcher=joblib", "launcher.n_jobs=2")
    sweep = dfa.start("sweep", f"outputs={dfa.outputs}", *TINY, *words, **environment(**dfa.environment))
    with sweep:
        _, err = sweep.communicate(timeout=PATIENCE)
    assert sweep.returncode == 0, err
    (log,) = dfa.outputs.rglob("worker.log")
    assert spin_counts(log.read_text("utf-8")) == {"1000"}


def test_threads_of_all_stages_soon_sleep(dfa: Dfa) -> None:
    err = train(dfa, "data=digits", "parallel=pipeline", "parallel.stages=2")
    assert err.count("GOMP_SPINCOUNT = ") > 1  # a process has one copy
    assert spin_counts(err) == {"1000"}


def test_a_python_process_of_the_users_is_left_alone() -> None:
    counts = spin_counts(python("import dfa_cli; dfa_cli.DirectFeedbackAlignment; dfa_cli.load; dfa_cli.OPU"))
    assert counts
    assert "1000" not in counts


def test_warnings_of_libraries_are_not_shown_unless_the_user_asks(dfa: Dfa) -> None:
    folder = dfa.root / "own"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "warns.yaml").write_text("{_target_: warns.Own, gives: samples}")
    (folder / "warns.py").write_text(OWN)
    words = ("--config-dir", str(folder), "data=warns", "rule=bp")
    assert "FutureWarning" not in train(dfa, *words)
    assert "FutureWarning: old" in train(dfa, *words, PYTHONWARNINGS="default::FutureWarning")
