"""A run on this machine: what every command that trains comes down to."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from dfa_cli.config.auto import resolve_auto
from dfa_cli.config.spec import RunSpec
from dfa_cli.launch.recorded import spec_of_record
from dfa_cli.machine.startup import import_without_gc
from dfa_cli.records.run import Run


def run_spec(spec: RunSpec, folder: Path, replaces: bool = False) -> dict[str, Any]:
    """Train what `spec` describes and record it in `folder`. Returns the content of `run.json`.

    `auto` is resolved here, by the process and on the machine that trains. `replaces`: the record in `folder` goes.
    """
    return _experiment().run(on_this_machine(spec), folder, replaces)


def resume_recorded(run: Run) -> dict[str, Any]:
    """Go on with a recorded run from its checkpoint, in its own folder. Returns the content of `run.json`."""
    return _experiment().resume(on_this_machine(spec_of_record(run)), Path(run.folder))


def on_this_machine(spec: RunSpec) -> RunSpec:
    """The run with every `auto` resolved. Raises `DfaError` when this machine lacks what was asked for."""
    return replace(spec, config=resolve_auto(spec.config))


def _experiment() -> Any:
    """The module that trains, which imports torch."""
    logging.raiseExceptions = (
        False  # where run.log cannot be written, the run itself says why, in one sentence
    )
    with import_without_gc("torch"):
        from dfa_cli import experiment

    return experiment
