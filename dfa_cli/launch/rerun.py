"""`dfa rerun`: repeats a run from its record alone, and compares the metrics."""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from pathlib import Path

from dfa_cli.comparison.repetition import verdict
from dfa_cli.errors import DfaError
from dfa_cli.launch.folder import new_run_folder
from dfa_cli.launch.interruption import interruption_reported
from dfa_cli.launch.recorded import NO_TRUST, Trust, require_no_overrides, spec_of_record
from dfa_cli.launch.task import is_stage, run_spec, run_stage
from dfa_cli.records.find import Paths, pick_run
from dfa_cli.records.integrity import require_unchanged
from dfa_cli.records.log import logged
from dfa_cli.records.run import read_run


def rerun(name: str, folders: Paths, outputs: Path, trust: Trust = NO_TRUST) -> tuple[list[str], bool]:
    """Repeat a run from its record alone, in a new folder below `outputs`.

    `trust`: what may be imported besides this package. Returns lines that say whether the metrics match, and the same
    answer as a truth value. Raises `DfaError` when the run has no metrics.
    """
    require_no_overrides("dfa rerun repeats a run", name, folders)
    before = pick_run(name, folders)
    require_unchanged(before)
    if not before.curves.get("epoch"):
        raise DfaError(
            f"run {before.id} ({before.status}) has no metrics, so there is nothing to compare with."
        )
    run_id = secrets.token_hex(4)
    folder = (outputs / time.strftime("%Y-%m-%d") / f"{time.strftime('%H-%M-%S')}_rerun_{run_id}").absolute()
    spec = spec_of_record(before, trust).with_values(
        run_id=run_id, outputs=str(outputs), checkpoint_every=None
    )
    if is_stage(before.config):  # The process with rank 0 owns the record, and compares.
        run_stage(spec)
        return [], True
    with new_run_folder(folder), interruption_reported(folder), logged(folder):
        run_spec(replace(spec, command=f"dfa rerun {before.id}"), folder)
    return verdict(before, read_run(folder))
