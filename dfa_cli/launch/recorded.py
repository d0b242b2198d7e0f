"""A recorded run, ready to run again."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from dfa_cli.config.bounds import lookup, shown
from dfa_cli.config.checks import check
from dfa_cli.config.identity import DROPPED, outdated
from dfa_cli.config.schema import Config
from dfa_cli.config.spec import RunSpec
from dfa_cli.console.messages import shortest
from dfa_cli.errors import DfaError
from dfa_cli.launch.signals import terminate_like_ctrl_c
from dfa_cli.records.log import logged
from dfa_cli.records.run import Run


def spec_of_record(run: Run) -> RunSpec:
    """The run that a record describes, with today's names; keys that came later than the record have their defaults.

    Raises `DfaError` for a record that is not whole, and for a run that was made with an option that this version does
    not have any more.
    """
    if not run.config:
        raise DfaError(f"the record of run {run.id} has no configuration.")
    for key in outdated(run.config):  # `run.config` has lost those that hold what this version computes with
        if key in DROPPED:
            raise DfaError(
                f"run {run.id} was made with {key}={shown(lookup(run.config, key)[0])}, an option that this version "
                f"of dfa does not have any more: it computes as with {shown(DROPPED[key].value)}, and can neither "
                "repeat the run nor go on with it."
            )
    defaults = asdict(Config())
    del defaults["grids"]  # a sweep's, and no run's
    config = {**defaults, **run.config}
    # the same number of threads gives the same order of additions
    config["threads"] = run.provenance.get("threads") or config["threads"]
    try:
        for group in ("model", "rule", "device", "data", "optimizer"):
            assert config[group]["_target_"], f"{group} names no class"
            assert run.choices[group], f"no {group} was chosen"
        check(config, run.choices)
    except (AssertionError, AttributeError, KeyError, TypeError) as error:
        raise DfaError(f"the record of run {run.id} is not whole: {type(error).__name__} {error}.") from error
    words = run.record.get("overrides") or []
    return RunSpec(config, run.choices, list(words), run.provenance.get("config_dir"))


@contextlib.contextmanager
def log_in(folder: Path) -> Iterator[None]:
    """`run.log` in the folder; Ctrl-C and SIGTERM end in the record."""
    try:
        with terminate_like_ctrl_c(), logged(folder):
            yield
    except KeyboardInterrupt:
        print(f"\ninterrupted; what was measured is in {shortest(folder)}", file=sys.stderr)
        raise
