"""`dfa rerun`: run again from a record alone."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

from dfa_cli.comparison.repetition import verdict
from dfa_cli.errors import DfaError
from dfa_cli.launch.recorded import _config_of, _logged
from dfa_cli.machine.memory import importing
from dfa_cli.records.find import Paths


def rerun(run: str, folders: Paths, outputs: Path) -> tuple[list[str], bool]:
    """Run again from a run's record alone. Returns whether the metrics match, in lines and as the exit code has it."""
    from dfa_cli.records.find import pick_run
    from dfa_cli.records.run import read

    before = pick_run(run, folders)
    if not before.curves.get("epoch"):
        raise DfaError(
            f"nothing was measured in run {before.id} ({before.status}): there is nothing to compare with."
        )
    config = _config_of(before)
    name = secrets.token_hex(4)
    folder = (outputs / time.strftime("%Y-%m-%d") / f"{time.strftime('%H-%M-%S')}_rerun_{name}").absolute()
    config |= {"run_id": name, "outputs": str(outputs), "checkpoint_every": None}
    # the same number of threads gives the same order of additions
    config["threads"] = before.provenance.get("threads") or config["threads"]
    with _logged(folder):
        with importing("torch"):
            from dfa_cli import experiment

        words = list(before.record.get("overrides") or ())
        own = before.provenance.get("config_dir")
        experiment.run(config, folder, before.choices, words, f"dfa rerun {before.id}", own)
    after = read(folder)
    return verdict(before, after)
