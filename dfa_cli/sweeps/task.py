"""Runs one job of a sweep, in the process that a launcher has started for it."""

from __future__ import annotations

import math
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from dfa_cli.config.checks import check
from dfa_cli.config.compose import spec_of_job
from dfa_cli.config.spec import RunSpec
from dfa_cli.launch.task import resolve_spec, resume_recorded, run_spec
from dfa_cli.machine.startup import import_without_gc
from dfa_cli.records.locks import claim
from dfa_cli.records.log import logged
from dfa_cli.records.run import read_run, record_of
from dfa_cli.sweeps.notes import STOP, note_name, read_notes, write_note
from dfa_cli.sweeps.search import trial_overrides


def task(config: DictConfig, worker: int) -> float:
    """Run a job, or reuse or resume an equal run. Returns the best validation accuracy, or NaN if the job failed.

    An exception ends only this job. By then it is in the job's record and log. A job without a record of its own leaves
    a note and no folder, so that the sweep's folder holds only runs.
    `worker`: the process id of the sweep's worker. A job runs in the worker, or in a process that a launcher started.
    """
    context = HydraConfig.get()
    folder, sweep_folder = Path(context.runtime.output_dir), Path(context.sweep.dir)
    if (sweep_folder / STOP).exists():
        return _leave_note(sweep_folder, folder, "stopped")
    try:
        spec = spec_of_job(config, trial_overrides(context.overrides.task))
        check(spec.config, spec.choices)  # the values of a search are picked after all earlier checks
        return _run(spec, folder, sweep_folder)
    except KeyboardInterrupt:
        # The record of this job is closed. If this process ended now, joblib would kill the other processes before
        # they have closed their records, so only the job ends here.
        if os.getpid() == worker or not (sweep_folder / STOP).exists():
            raise
        return math.nan
    except Exception as error:
        if config.fail_fast:
            (sweep_folder / STOP).touch()
        reason = " ".join(str(error).split()) or type(error).__name__
        print(f"{folder.name}: {type(error).__name__}: {reason}", file=sys.stderr, flush=True)
        if not (folder / "run.json").exists():
            import logging

            logging.getLogger("dfa").error("the run could not begin", exc_info=error)
            resumed = read_notes(sweep_folder).get(note_name(sweep_folder, folder), {}).get("folder")
            write_note(
                sweep_folder, folder, {"state": "failed", "reason": reason, "folder": resumed or str(folder)}
            )
        return math.nan


def _run(spec: RunSpec, folder: Path, sweep_folder: Path) -> float:
    with import_without_gc("torch"):
        from dfa_cli.training.checkpoint import can_be_read

    spec = resolve_spec(spec)
    with claim(Path(spec.config["outputs"]), spec.identity) as claimed:
        if claimed is None:
            return _leave_note(sweep_folder, folder, "elsewhere", identity=spec.identity)
        last_folder = claimed.last_run()
        if spec.config["reuse"] and last_folder is not None:
            last_record = record_of(last_folder)
            if last_record.get("status") == "completed":
                return _leave_note(sweep_folder, folder, "reused", last_folder, last_record)
            if can_be_read(last_folder):
                resumes = len(last_record.get("resumed", ())) + 1
                _leave_note(sweep_folder, folder, "resumed", last_folder, resumes=resumes)
                with logged(last_folder):
                    return objective_value(resume_recorded(read_run(last_folder)))
        claimed.run_in(folder)
        return objective_value(run_spec(spec.repeated_by_train(), folder))


def objective_value(record: dict[str, Any]) -> float:
    """Return the value that a search maximises: the best validation accuracy, never the test accuracy."""
    return float((record.get("result") or {}).get("best_validation_accuracy", math.nan))


def _leave_note(
    sweep_folder: Path,
    folder: Path,
    state: str,
    record: Path | None = None,
    content: dict[str, Any] | None = None,
    **more: Any,
) -> float:
    """Write a note in place of a record, delete the job's folder, and return the value of the equal run, if any.

    `record`: the folder of the equal run. `content`: its record.
    """
    write_note(sweep_folder, folder, {"state": state, "folder": str(record) if record else None, **more})
    shutil.rmtree(folder, ignore_errors=True)
    return objective_value(content or {})
