"""`dfa resume`: continues a run that ended early."""

from __future__ import annotations

from pathlib import Path

from dfa_cli.errors import DfaError
from dfa_cli.launch.recorded import log_and_handle_signals, spec_of_record
from dfa_cli.launch.task import resume_recorded, run_spec
from dfa_cli.records.curves import METRICS
from dfa_cli.records.find import Paths, pick_run
from dfa_cli.records.locks import FOLDER, claim
from dfa_cli.records.run import CHECKPOINT, Run, read_run


def resume(name: str, folders: Paths, from_start: bool) -> None:
    """Continue a killed, interrupted or failed run from its checkpoint.

    `from_start`: begin again with epoch 1 in the same folder. Raises `DfaError` for a run that is completed or still
    running. Without `from_start` it is also raised for a run without a checkpoint.
    """
    run = pick_run(name, folders)
    folder = Path(run.folder).absolute()
    _require_ended(run)
    if not from_start and not (folder / CHECKPOINT).is_file():
        raise DfaError(
            f"run {run.id} has no checkpoint, so there is no epoch to go on from. "
            f"Begin again with epoch 1: dfa resume {run.id} --from-start. "
            "(A run with checkpoint_every=EPOCHS writes checkpoints.)"
        )
    spec = spec_of_record(run)
    # The folder that holds the claims (`records/locks.py`) is one of the folders above the run.
    outputs = next((above for above in folder.parents if (above / FOLDER).is_dir()), folder.parent)
    with claim(outputs, run.identity or run.id) as claimed:
        if claimed is None:
            raise DfaError(
                f"a sweep is running the configuration of run {run.id} right now; wait for it, or stop it."
            )
        _require_ended(read_run(folder))  # a sweep may have continued the run before the claim was made
        with log_and_handle_signals(folder):
            if from_start:
                for file_name in (METRICS, CHECKPOINT):
                    (folder / file_name).unlink(missing_ok=True)
                run_spec(spec, folder, replaces=True)
            else:
                resume_recorded(run)


def _require_ended(run: Run) -> None:
    """Raise `DfaError` for a run that is completed or still running."""
    if run.status == "completed":
        raise DfaError(f"run {run.id} is completed; to repeat it, use dfa rerun {run.id}.")
    if run.status == "running":
        raise DfaError(f"run {run.id} is still running, in process {run.provenance.get('pid')}.")
