"""Turns a record into a run that can be started: what `dfa rerun` and `dfa resume` share."""

from __future__ import annotations

from dataclasses import asdict

from dfa_cli.config.bounds import lookup, shown
from dfa_cli.config.checks import check
from dfa_cli.config.identity import DROPPED, outdated_names
from dfa_cli.config.schema import Config
from dfa_cli.config.spec import RunSpec
from dfa_cli.errors import DfaError
from dfa_cli.records.run import Run


def spec_of_record(run: Run) -> RunSpec:
    """Describe the run of a record in today's names. A key that is younger than the record gets its default.

    Raises `DfaError` for a damaged record, and for a run with an option that this version no longer has.
    """
    if not run.config:
        raise DfaError(
            f"the record of run {run.id} has no configuration, so the run can be neither repeated nor continued."
        )
    # `run.config` no longer has a dropped option that had the value to which this version is equivalent. A dropped
    # option with another value is still there.
    for key in outdated_names(run.config):
        if key in DROPPED:
            raise DfaError(
                f"run {run.id} was made with {key}={shown(lookup(run.config, key)[0])}, an option that this version "
                f"of dfa does not have any more: it computes as if it were {shown(DROPPED[key].value)}, and can "
                "neither repeat the run nor go on with it."
            )
    defaults = asdict(Config())
    del defaults["grids"]  # a key of sweeps only
    config = {**defaults, **run.config}
    # The order of additions, and with it the last bits of a result, depends on the number of threads.
    config["threads"] = run.provenance.get("threads") or config["threads"]
    try:
        for group in ("model", "rule", "device", "data", "optimizer"):
            assert config[group]["_target_"], f"{group} names no class"
            assert run.choices[group], f"no {group} was chosen"
        check(config, run.choices)
    except (AssertionError, AttributeError, KeyError, TypeError) as error:
        raise DfaError(f"the record of run {run.id} is damaged: {type(error).__name__} {error}.") from error
    words = run.record.get("overrides") or []
    return RunSpec(config, run.choices, list(words), run.provenance.get("config_dir"))
