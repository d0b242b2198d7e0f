"""`dfa resume`: a run that was ended early, gone on with."""

from __future__ import annotations

from pathlib import Path

from dfa_cli.errors import DfaError
from dfa_cli.launch.recorded import log_in, spec_of_record
from dfa_cli.launch.task import resume_recorded, run_spec
from dfa_cli.records.curves import METRICS
from dfa_cli.records.find import Paths, pick_run
from dfa_cli.records.locks import FOLDER, claim
from dfa_cli.records.run import CHECKPOINT, Run, read_run


def resume(name: str, folders: Paths, from_start: bool) -> None:
    """Go on with a killed, interrupted or failed run from its checkpoint, or, `from_start`, begin it again in place.

    Raises `DfaError` for a run that has come to its end or is still running, and where there is no checkpoint.
    """
    run = pick_run(name, folders)
    folder = Path(run.folder).absolute()
    _require_ended(run)
    if not from_start and not (folder / CHECKPOINT).is_file():
        raise DfaError(
            f"run {run.id} has no checkpoint, so there is no epoch to go on from: "
            f"dfa resume {run.id} --from-start begins again with epoch 1 "
            "(and checkpoint_every=EPOCHS makes checkpoints)."
        )
    spec = spec_of_record(run)
    outputs = next((above for above in folder.parents if (above / FOLDER).is_dir()), folder.parent)
    with claim(outputs, run.identity or run.id) as ours:
        if ours is None:
            raise DfaError(f"a sweep is running the configuration of run {run.id} right now.")
        _require_ended(read_run(folder))  # a sweep may have gone on with it since
        with log_in(folder):
            if from_start:
                for left in (METRICS, CHECKPOINT):
                    (folder / left).unlink(missing_ok=True)
                run_spec(spec, folder, replaces=True)
            else:
                resume_recorded(run)


def _require_ended(run: Run) -> None:
    """Raises `DfaError` for a run that is completed or still running."""
    if run.status == "completed":
        raise DfaError(f"run {run.id} is completed; dfa rerun {run.id} makes it again.")
    if run.status == "running":
        raise DfaError(f"run {run.id} is still running, in process {run.provenance.get('pid')}.")
