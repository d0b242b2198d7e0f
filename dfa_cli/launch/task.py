"""Trains one run in this process. Every command that trains ends here."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dfa_cli.config.auto import resolve_auto
from dfa_cli.config.plugins import is_of_package
from dfa_cli.config.spec import RunSpec
from dfa_cli.console.messages import shortest
from dfa_cli.errors import DfaError
from dfa_cli.machine.provenance import packages, provenance
from dfa_cli.machine.startup import import_undisturbed
from dfa_cli.records.checkpoint import resumes_after
from dfa_cli.records.code import changed_files, origin, origin_in_words
from dfa_cli.records.integrity import changes
from dfa_cli.records.run import Run, record_of


def run_spec(spec: RunSpec, folder: Path, replaces: bool = False) -> dict[str, Any]:
    """Train the run that `spec` describes and record it in `folder`. Returns the content of `run.json`.

    `auto` is resolved here, on the machine that trains. `replaces`: the folder holds an earlier record of this run,
    which gives way when the data and the model are there.
    """
    with import_undisturbed("torch"):
        from dfa_cli import experiment

    return experiment.run(resolve_spec(spec), folder, replaces)


def is_stage(config: Mapping[str, Any]) -> bool:
    """Tell whether a launcher such as torchrun has started this process beside the one that owns the record.

    Raises `DfaError` when a launcher has started several processes for a run that is not divided. The jobs of a sweep
    do not ask: a cluster may start many of them side by side.
    """
    if config.get("parallel"):
        return os.environ.get("RANK", "0") != "0"
    if count := launched_processes():
        raise DfaError(
            f"A launcher such as torchrun has started {count} processes, and with parallel=none each would train the "
            f"whole model. Set parallel=pipeline with parallel.stages={count}, or parallel=data with "
            f"parallel.replicas={count}; or start dfa without the launcher."
        )
    return False


def launched_processes() -> int | None:
    """Return how many processes a launcher such as torchrun has started; `None` if it is not several."""
    count = os.environ.get("WORLD_SIZE", "")
    return int(count) if "RANK" in os.environ and count.isdecimal() and int(count) > 1 else None


def run_stage(spec: RunSpec, folder: Path = Path(), resumed: bool = False) -> None:
    """Compute a stage of the run that `spec` describes, whose record another process owns.

    `resumed`: it goes on from the checkpoint in `folder`.
    """
    with import_undisturbed("torch"):
        from dfa_cli import experiment

    experiment.run_stage(resolve_spec(spec), folder, resumed)


def continue_as(run: Run, spec: RunSpec) -> RunSpec:
    """Give `spec` what `run` keeps when it is resumed: its id, its number of threads, and which weights it saves."""
    return spec.with_values(
        run_id=run.id,
        threads=run.provenance.get("threads") or spec.config["threads"],
        weights=run.config.get("weights", "last"),
    )


def resume_recorded(run: Run, spec: RunSpec) -> dict[str, Any]:
    """Continue a recorded run from its checkpoint, in its own folder. Returns the content of `run.json`.

    `spec` describes the same run. Its code is the code that is imported, since a record is only data. Raises `DfaError`
    when the run began with other code: one run must not hold two.
    """
    if spec.code.modules and not run.code:
        raise DfaError(
            f"run {run.id} recorded no checksums of its code, so nobody can tell whether the code is unchanged; "
            "begin again with --from-start."
        )
    if changed := changed_files(run.code, spec.code.checksums):
        raise DfaError(
            f"run {run.id} was begun with other code: {'; '.join(changed)}. Put the code back, or begin again with "
            f"dfa resume {shortest(Path(run.folder))} --from-start --config-dir FOLDER."
        )
    with import_undisturbed("torch"):
        from dfa_cli import experiment

    return experiment.resume(resolve_spec(continue_as(run, spec)), Path(run.folder))


def resumed_for(folder: Path, spec: RunSpec) -> int | None:
    """Return the epoch after which the run in a folder can go on, to be the run that `spec` describes.

    `None`: it is completed, has no checkpoint, or does not save the weights that `spec` asks for.
    """
    return resumes_after(folder) if _saves_weights_for(record_of(folder), spec) else None


def _saves_weights_for(record: Mapping[str, Any], spec: RunSpec) -> bool:
    """Tell whether a run saves the weights that `spec` asks for. With `weights=last`, the default, any will do."""
    return spec.config["weights"] in ("last", (record.get("config") or {}).get("weights"))


def why_not_reused(run: Run, spec: RunSpec) -> str | None:
    """Say why a completed run with the same identity cannot stand for the run that `spec` describes.

    `None`: it can. It cannot if the files of its data set have changed since, and with `reuse=strict` if the commit of
    dfa or a version has. It cannot either if a module without a file is part of it, whose code nobody knows, if it was
    changed after dfa wrote it, or if it has not saved the weights that are asked for.
    """
    if not spec.config["reuse"]:
        return "reuse=false"
    if not _saves_weights_for(run.record, spec):
        return "it saved the weights of its last epoch, and not of the best"
    if unknown := [name for name, checksum in run.code.items() if checksum is None]:
        return f"nobody knows the code of {', '.join(unknown)}, which has no file"
    if changed := changes(run):
        return "; ".join(changed)
    if spec.config["reuse"] == "strict":
        then, now = origin(run.provenance), origin(provenance())
        if then != now:
            return f"the version has changed: {origin_in_words(then, now)} before, {origin_in_words(now, then)} now"
        installed = hashlib.sha256(packages().encode()).hexdigest()
        if run.provenance.get("packages") not in (None, installed):
            return "other packages are installed now"
    # The files of our own data sets are checked against fixed checksums whenever they are read.
    if is_of_package(spec.config["data"]["_target_"]):
        return None
    before, now = run.provenance.get("data_checksums") or {}, _checksums_now(spec)
    if before == now:
        return None
    return f"the data set has changed: {'; '.join(changed_files(before, now or {}))}"


def _checksums_now(spec: RunSpec) -> dict[str, str] | None:
    """Load the data set of a run, to return the checksums of its files; `None` if it cannot be loaded."""
    from dfa_cli.config.own_code import import_exactly
    from dfa_cli.config.plugins import add_plugin_folder
    from dfa_cli.data.loading import load_data

    add_plugin_folder(spec.config_dir)
    import_exactly(spec.code)
    try:
        return dict(load_data(spec.config, spec.code.checksums).checksums)
    except Exception:  # noqa: BLE001  (the run itself will say what is wrong with the user's class)
        return None


def resolve_spec(spec: RunSpec) -> RunSpec:
    """Resolve every `auto` for this machine. Raises `DfaError` when this machine lacks what the run asks for."""
    return replace(spec, config=resolve_auto(spec.config))
