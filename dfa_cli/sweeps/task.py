"""Runs one job of a sweep, in the process that a launcher has started for it."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from dfa_cli.config.checks import check
from dfa_cli.config.compose import spec_of_job
from dfa_cli.config.spec import RunSpec
from dfa_cli.errors import DfaError
from dfa_cli.launch.task import resolve_spec, resume_recorded, resumed_for, run_spec, why_not_reused
from dfa_cli.machine import signals
from dfa_cli.machine.files import remove_folder
from dfa_cli.machine.startup import prepare_process
from dfa_cli.records.checkpoint import resumes_after
from dfa_cli.records.clean import foreign_names
from dfa_cli.records.locks import InUseError, claim, owned
from dfa_cli.records.log import logged
from dfa_cli.records.run import RECORD, read_run, record_of
from dfa_cli.sweeps.notes import STOP, forget_note, note_name, read_notes, write_note
from dfa_cli.sweeps.search import trial_overrides
from dfa_cli.sweeps.specs import read_code

PAUSE_SECONDS = 2.0  # between two questions whether another start of the job is alive


def task(config: DictConfig, worker: int, code: str) -> float:
    """Run a job, or reuse or resume an equal run. Returns the best validation accuracy, or NaN if the job failed.

    An exception ends only this job. By then it is in the job's record and log. A job without a record of its own leaves
    a note and no folder, so that the sweep's folder holds only runs. A launcher may start a job again, also while its
    first start is still running or after it has ended.
    `worker`: the process id of the sweep's worker. A job runs in the worker, or in a process that a launcher started.
    `code`: the file that says which code the jobs run with.
    """
    prepare_process()  # The launcher may have found a process on another machine, which inherits nothing.
    context = HydraConfig.get()
    folder, sweep_folder = Path(context.runtime.output_dir), Path(context.sweep.dir)
    stop = sweep_folder / STOP
    try:
        with signals.raised_as_interrupts(), signals.named_by(stop), _owned_when_free(folder) as is_ours:
            if not is_ours:  # Another start of this job is running it.
                write_note(sweep_folder, folder, {"state": "elsewhere", "folder": None})
                return math.nan
            try:
                own_record = record_of(folder)
                if own_record.get("status") == "completed" and own_record.get("id") == config.run_id:
                    return objective_value(own_record)  # An earlier start of this job has completed it.
                if stop.exists() or signals.received():
                    return _leave_note(sweep_folder, folder, "stopped")
                own = read_code(Path(code), Path(config.outputs).absolute())
                spec = spec_of_job(config, trial_overrides(context.overrides.task), own)
                check(spec.config, spec.choices)  # the values of a search are picked after all earlier checks
                return _run(spec, folder, sweep_folder)
            except Exception as error:
                if signals.received():
                    # The signal turned into another exception, as it does during an import.
                    raise KeyboardInterrupt from error
                _report(error, folder, sweep_folder, config.fail_fast)
                return math.nan
    except KeyboardInterrupt:
        # The record of this job is closed. If this process ended now, joblib would kill the other processes before
        # they have closed their records, so only the job ends here.
        if os.getpid() == worker or not stop.exists():
            raise
        return math.nan


@contextlib.contextmanager
def _owned_when_free(folder: Path) -> Iterator[bool]:
    """Own the folder of this job, which only another start of the same job may own already.

    The block gets `False` if the other start is running. Where nobody can tell, because it ran on another machine, wait
    until it has been silent for long enough.
    """
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(owned(folder))
            except InUseError as error:
                if error.holder.certain:
                    yield False
                    return
                signals.raise_if_received()
                time.sleep(PAUSE_SECONDS)
            else:
                yield True
                return


def _run(spec: RunSpec, folder: Path, sweep_folder: Path) -> float:
    spec = resolve_spec(spec)
    with contextlib.ExitStack() as stack:
        try:
            claimed = stack.enter_context(claim(Path(spec.config["outputs"]), spec.identity))
            started_before = record_of(folder).get("id") == spec.config["run_id"]
            last = claimed.last_run() if spec.config["reuse"] and not started_before else None
            is_ours = last is not None and not _is_completed(last) and _own_if_writable(last, stack)
        except InUseError:
            return _leave_note(sweep_folder, folder, "elsewhere", identity=spec.identity)
        if last is not None and _is_completed(last) and why_not_reused(read_run(last), spec) is None:
            return _leave_note(sweep_folder, folder, "reused", last, record_of(last))
        forget_note(sweep_folder, folder)  # that an earlier start of this job has left
        if last is not None and is_ours and resumed_for(last, spec) is not None:
            resumes = len(record_of(last).get("resumed", ())) + 1
            _leave_note(sweep_folder, folder, "resumed", last, resumes=resumes)
            with logged(last):
                return objective_value(resume_recorded(read_run(last), spec))
        claimed.run_in(folder)
        if started_before and resumes_after(folder) is not None:
            return objective_value(resume_recorded(read_run(folder), spec))
        return objective_value(run_spec(spec.repeated_by_train(), folder, replaces=started_before))


def _is_completed(folder: Path) -> bool:
    return record_of(folder).get("status") == "completed"


def _own_if_writable(folder: Path, stack: contextlib.ExitStack) -> bool:
    """Own the folder of an earlier run, and tell whether that was possible.

    Raises `InUseError` when another process owns it.
    """
    try:
        stack.enter_context(owned(folder))
    except InUseError:
        raise
    except DfaError:  # The folder belongs to another user, or its disk is read-only.
        return False
    return True


def objective_value(record: dict[str, Any]) -> float:
    """Return the value that a search maximises: the best validation accuracy, never the test accuracy."""
    return float((record.get("result") or {}).get("best_validation_accuracy", math.nan))


def _report(error: Exception, folder: Path, sweep_folder: Path, fail_fast: bool) -> None:
    """Say why a job failed: on standard error, and in a note if its record does not say so."""
    reason = " ".join(str(error).split()) or type(error).__name__
    with contextlib.suppress(OSError):  # The disk may be full, and that may be why the job failed.
        if fail_fast:
            (sweep_folder / STOP).touch()
        print(f"{folder.name}: {type(error).__name__}: {reason}", file=sys.stderr, flush=True)
        if record_of(folder).get("status") != "failed":
            logging.getLogger("dfa").error("the run could not begin", exc_info=error)
            resumed = read_notes(sweep_folder).get(note_name(sweep_folder, folder), {}).get("folder")
            write_note(
                sweep_folder, folder, {"state": "failed", "reason": reason, "folder": resumed or str(folder)}
            )


def _leave_note(
    sweep_folder: Path,
    folder: Path,
    state: str,
    record: Path | None = None,
    content: dict[str, Any] | None = None,
    **more: Any,
) -> float:
    """Write a note in place of a record, delete the job's folder, and return the value of the equal run, if any.

    The folder stays if it holds a record, of this job or another. `record`: the folder of the equal run. `content`: its
    record.
    """
    write_note(sweep_folder, folder, {"state": state, "folder": str(record) if record else None, **more})
    with contextlib.suppress(OSError):
        if not (folder / RECORD).exists() and not foreign_names(folder):
            remove_folder(folder)
    return objective_value(content or {})
