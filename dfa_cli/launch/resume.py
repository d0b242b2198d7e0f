"""`dfa resume`: continues a run that ended early."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from dfa_cli.config.spec import RunSpec
from dfa_cli.console.messages import shortest
from dfa_cli.errors import DfaError
from dfa_cli.launch.interruption import interruption_reported
from dfa_cli.launch.recorded import NO_TRUST, Trust, require_no_overrides, spec_of_record
from dfa_cli.launch.task import continue_as, is_stage, resume_recorded, run_spec, run_stage
from dfa_cli.machine.files import fixable_errors_as_sentences
from dfa_cli.records.find import Paths, pick_run
from dfa_cli.records.integrity import require_unchanged
from dfa_cli.records.locks import CLAIMS, InUseError, claim, in_use_by, owned
from dfa_cli.records.log import logged
from dfa_cli.records.run import CHECKPOINT, Run, read_run


def resume(
    name: str,
    folders: Paths,
    from_start: bool,
    force: bool = False,
    trust: Trust = NO_TRUST,
    stages: int | None = None,
) -> None:
    """Continue a killed, interrupted or failed run from its checkpoint.

    `from_start`: begin again with epoch 1 in the same folder. The earlier measurements stay until the data and the
    model are there. `force`: continue also a run that counts as running only because nobody can tell whether its
    process is alive. `trust`: what may be imported besides this package. `stages`: the number of processes of a
    pipeline; the results do not depend on it. Raises `DfaError` for a run that is completed or still running. Without
    `from_start` it is also raised for a run without a checkpoint.
    """
    require_no_overrides("dfa resume goes on with a run", name, folders)
    run = pick_run(name, folders)
    folder = Path(run.folder).absolute()
    if is_stage(run.config):
        # The process with rank 0 checks the run. It may be ahead, and have begun to change the record.
        run_stage(continue_as(run, _spec(run, trust, stages)), folder, resumed=not from_start)
        return
    _require_ended(run, force)
    if not from_start and not (folder / CHECKPOINT).is_file():
        raise DfaError(
            f"run {run.id} has no checkpoint, so there is no epoch to go on from. "
            f"Begin again with epoch 1: dfa resume {run.id} --from-start. "
            "(A run with checkpoint_every=EPOCHS writes checkpoints.)"
        )
    require_unchanged(run, metrics=False)
    if not from_start and run.change_of_metrics:
        raise DfaError(
            f"run {run.id} cannot go on, because its {run.change_of_metrics}. "
            f"Begin again with epoch 1: dfa resume {run.id} --from-start."
        )
    spec = _spec(run, trust, stages)
    # A run that belongs to an output folder with claims is claimed, so that no sweep runs its configuration meanwhile.
    outputs = next((above for above in folder.parents if (above / CLAIMS).is_dir()), None)
    with contextlib.ExitStack() as stack:
        try:
            if outputs is not None and run.identity:
                stack.enter_context(claim(outputs, run.identity, force))
            stack.enter_context(owned(folder, force))
        except InUseError as error:
            raise DfaError(f"run {run.id} cannot be resumed: {error}") from None
        _require_incomplete(
            read_run(folder)
        )  # another process may have continued the run before the lock was ours
        stack.enter_context(_options_of_resume())
        stack.enter_context(interruption_reported(folder, trust.config_dir))
        stack.enter_context(fixable_errors_as_sentences(folder))
        stack.enter_context(logged(folder))
        if from_start:
            run_spec(spec, folder, replaces=True)
        else:
            resume_recorded(run, spec)


def _spec(run: Run, trust: Trust, stages: int | None) -> RunSpec:
    spec = spec_of_record(run, trust)
    if stages is None:
        return spec
    if "stages" not in spec.config["parallel"]:
        raise DfaError(f"run {run.id} is not divided into stages; leave --stages out.")
    parallel = spec.config["parallel"]
    if stages == parallel["stages"]:
        return spec
    return spec.with_values(parallel={**parallel, "stages": stages, "split": None})


@contextlib.contextmanager
def _options_of_resume() -> Iterator[None]:
    """Let a message name the option of this command in place of the keys that `dfa train` takes."""
    try:
        yield
    except DfaError as error:
        words = str(error).replace("parallel.stages=", "--stages ")
        words = re.sub(r"Use .*(--stages \d+( or fewer)?).*", r"Use \1.", words)
        if words != str(error):
            raise DfaError(words) from error
        raise


def _require_ended(run: Run, force: bool) -> None:
    """Raise `DfaError` for a run that is completed or still running."""
    _require_incomplete(run)
    if run.status == "running" and run.owner is not None and (run.owner.certain or not force):
        raise DfaError(f"run {run.id} is still running: {shortest(Path(run.folder))} {in_use_by(run.owner)}")


def _require_incomplete(run: Run) -> None:
    if run.record["status"] == "completed":
        raise DfaError(
            f"run {run.id} is completed; to repeat it, use dfa rerun {shortest(Path(run.folder))}."
        )
