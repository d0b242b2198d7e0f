"""Trains one run in this process. Every command that trains ends here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from dfa_cli.config.auto import resolve_auto
from dfa_cli.config.spec import RunSpec
from dfa_cli.launch.recorded import spec_of_record
from dfa_cli.machine.startup import import_without_gc
from dfa_cli.records.run import Run


def run_spec(spec: RunSpec, folder: Path, replaces: bool = False) -> dict[str, Any]:
    """Train the run that `spec` describes and record it in `folder`. Returns the content of `run.json`.

    `auto` is resolved here, on the machine that trains. `replaces`: the folder holds an earlier record of this run,
    which gives way when the data and the model are there.
    """
    with import_without_gc("torch"):
        from dfa_cli import experiment

    return experiment.run(resolve_spec(spec), folder, replaces)


def resume_recorded(run: Run) -> dict[str, Any]:
    """Continue a recorded run from its checkpoint, in its own folder. Returns the content of `run.json`."""
    with import_without_gc("torch"):
        from dfa_cli import experiment

    return experiment.resume(resolve_spec(spec_of_record(run)), Path(run.folder))


def resolve_spec(spec: RunSpec) -> RunSpec:
    """Resolve every `auto` for this machine. Raises `DfaError` when this machine lacks what the run asks for."""
    return replace(spec, config=resolve_auto(spec.config))
