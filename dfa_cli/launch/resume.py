"""`dfa resume`: go on with a run from its checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dfa_cli.errors import DfaError
from dfa_cli.launch.recorded import _config_of, _logged
from dfa_cli.machine.memory import importing
from dfa_cli.records.find import Paths

if TYPE_CHECKING:
    from dfa_cli.records.run import Run


def resume(run: str, folders: Paths, from_start: bool) -> None:
    """Go on with a killed, interrupted or failed run from its checkpoint, or, `from_start`, begin it again in place."""
    from dfa_cli.records.find import pick_run
    from dfa_cli.records.locks import FOLDER, claim
    from dfa_cli.records.run import CHECKPOINT, read

    chosen = pick_run(run, folders)
    folder = Path(chosen.folder).absolute()
    _require_ended(chosen)
    if not from_start and not (folder / CHECKPOINT).is_file():
        raise DfaError(
            f"run {chosen.id} has no checkpoint, so there is no epoch to go on from: "
            f"dfa resume {chosen.id} --from-start begins again with epoch 1 "
            "(and checkpoint_every=EPOCHS makes checkpoints)."
        )
    config = _config_of(chosen)
    outputs = next((above for above in folder.parents if (above / FOLDER).is_dir()), folder.parent)
    with claim(outputs, chosen.identity or chosen.id) as ours:
        if ours is None:
            raise DfaError(f"a sweep is running the configuration of run {chosen.id} right now.")
        _require_ended(read(folder))  # a sweep may have gone on with it since
        with _logged(folder):
            with importing("torch"):
                from dfa_cli import experiment

            if from_start:
                for left in ("metrics.csv", CHECKPOINT):
                    (folder / left).unlink(missing_ok=True)
                words = list(chosen.record.get("overrides") or ())
                own = chosen.provenance.get("config_dir")
                experiment.run(config, folder, chosen.choices, words, config_dir=own, replaces=True)
            else:
                experiment.resume(folder)


def _require_ended(run: Run) -> None:
    """Raises `DfaError` for a run that is completed or still running."""
    if run.status == "completed":
        raise DfaError(f"run {run.id} is completed; dfa rerun {run.id} makes it again.")
    if run.status == "running":
        raise DfaError(f"run {run.id} is still running, in process {run.provenance.get('pid')}.")
