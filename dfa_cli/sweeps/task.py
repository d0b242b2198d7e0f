"""What runs for each job of a sweep, in whatever process a launcher starts it."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from dfa_cli.config.compose import chosen, plain
from dfa_cli.config.hydra_entry import config_dir, train_command
from dfa_cli.config.overrides import typed
from dfa_cli.machine.memory import importing
from dfa_cli.records.locks import claim
from dfa_cli.records.log import logged
from dfa_cli.records.run import status
from dfa_cli.sweeps.notes import STOP, notes, write_note

in_engine = False  # whether this is the process of the sweep itself, and not a worker of its launcher
OURS = ("outputs=", "progress=")  # overrides that the sweep adds and nobody typed


def task(composed: DictConfig) -> float:
    """Run a job, or take what is there; the value is the best validation accuracy, NaN for a job that failed.

    An exception ends this job only: it is in the job's record and log by then. A job without a record of its own
    leaves a note instead of its folder, so that a sweep's folder holds nothing but runs.
    """
    context = HydraConfig.get()
    folder, top = Path(context.runtime.output_dir), Path(context.sweep.dir)
    if (top / STOP).exists():
        return _note(top, folder, "stopped")
    try:
        return _run(plain(composed), folder, top, context)
    except KeyboardInterrupt:
        # the record is closed: a worker that ended now would have its launcher kill the others before theirs are
        if in_engine or not (top / STOP).exists():
            raise
        return math.nan
    except Exception as error:
        if composed.fail_fast:
            (top / STOP).touch()
        reason = " ".join(str(error).split()) or type(error).__name__
        print(f"{folder.name}: {type(error).__name__}: {reason}", file=sys.stderr, flush=True)
        if not (folder / "run.json").exists():
            import logging

            logging.getLogger("dfa").error("the run could not begin", exc_info=error)
            resumed = notes(top).get(folder.name, {}).get("folder")
            write_note(
                top, folder.name, {"state": "failed", "reason": reason, "folder": resumed or str(folder)}
            )
        return math.nan


def _run(config: dict[str, Any], folder: Path, top: Path, context: Any) -> float:
    with importing("torch"):
        from dfa_cli import experiment
        from dfa_cli.config import auto
    from dfa_cli.config.identity import identity
    from dfa_cli.training.checkpoint import can_be_read

    config = auto.settle(config)
    name = identity(config)
    with claim(Path(config["outputs"]), name) as ours:
        if ours is None:
            return _note(top, folder, "elsewhere", identity=name)
        last = ours.last_run()
        if config["reuse"] and last is not None:
            before = status(last)
            if before.get("status") == "completed":
                return _note(top, folder, "reused", last, before)
            if can_be_read(last):
                _note(top, folder, "resumed", last, resumes=len(before.get("resumed", ())) + 1)
                with logged(last):
                    return value(experiment.resume(last))
        ours.run_in(folder)
        words, own = named(context.overrides.task), config_dir(context)
        command = train_command(words, own)
        return value(experiment.run(config, folder, chosen(context), words, command, own))


def named(overrides: Iterable[str]) -> list[str]:
    """Those that somebody typed to say what is run."""
    return [word for word in typed(overrides) if not word.startswith(OURS)]


def value(record: dict[str, Any]) -> float:
    """What a search maximises: never the test."""
    return float((record.get("result") or {}).get("best_validation_accuracy", math.nan))


def _note(
    top: Path,
    folder: Path,
    state: str,
    record: Path | None = None,
    content: dict[str, Any] | None = None,
    **more: Any,
) -> float:
    write_note(top, folder.name, {"state": state, "folder": str(record) if record else None, **more})
    shutil.rmtree(folder, ignore_errors=True)
    return value(content or {})
