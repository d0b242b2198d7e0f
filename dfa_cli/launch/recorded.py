"""Turns a record into a run that can be started: what `dfa rerun` and `dfa resume` share."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dfa_cli.config.bounds import lookup, shown
from dfa_cli.config.checks import check
from dfa_cli.config.identity import DROPPED, outdated_names
from dfa_cli.config.own_code import NO_CODE, OwnCode, find_own_code
from dfa_cli.config.plugins import add_plugin_folder, is_of_package, targets
from dfa_cli.config.schema import Config
from dfa_cli.config.spec import RunSpec
from dfa_cli.console.values import printable
from dfa_cli.errors import DfaError
from dfa_cli.records.find import Paths, pick_run
from dfa_cli.records.run import Run


@dataclass(frozen=True)
class Trust:
    """What may be imported besides this package, to start a run that a record describes.

    A record may come from anywhere, and importing a module executes it. `config_dir`: the folder that was named in this
    call. `everything`: whatever the record names, after asking once.
    """

    config_dir: str | None = None
    everything: bool = False

    @classmethod
    def of(cls, config_dir: str | Path | None, everything: bool = False) -> Trust:
        """Return the trust in a folder as it was typed."""
        return cls(str(Path(config_dir).absolute()) if config_dir else None, everything)


NO_TRUST = Trust()


def require_no_overrides(does: str, name: str, folders: Paths) -> None:
    """Raise `DfaError` for words such as `graph=auto`, since a recorded run is described by its record alone.

    `does`: the command, and what it does with the run.
    """
    words = [str(word) for word in (name, *folders)]
    typed = [word for word in words if "=" in word and not os.path.exists(word)]
    if not typed:
        return
    if all(word.startswith("outputs=") for word in typed):
        command = shlex.join([*does.split()[:2], *(word.removeprefix("outputs=") for word in words)])
        raise DfaError(f"{does}; the folder to look in is given without outputs=: type {command}")
    others = [Path(word) for word in words[1:] if word not in typed]
    run = pick_run(name if name not in typed else "last", others or [Path("outputs")])
    keys = {word.partition("=")[0] for word in typed}
    recorded = [word for word in run.record.get("overrides") or () if word.partition("=")[0] not in keys]
    folder = run.provenance.get("config_dir")
    again = shlex.join(["dfa", "train", *(["--config-dir", folder] if folder else []), *recorded, *typed])
    raise DfaError(
        f"{does} as it was recorded, so it takes no {' '.join(typed)}; to train anew with other values, type {again}"
    )


def spec_of_record(run: Run, trust: Trust = NO_TRUST) -> RunSpec:
    """Describe the run of a record in today's names. A key that is younger than the record gets its default.

    Raises `DfaError` for a damaged record, for a run with an option that this version no longer has, and for a run with
    code that `trust` does not cover.
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
    # The terminal of this command decides how progress is shown. The record of a sweep's job has `none`.
    config["progress"] = "auto"
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
    config_dir, code = _trusted_code(run, config, trust)
    return RunSpec(config, run.choices, list(words), config_dir, code)


def _trusted_code(run: Run, config: Mapping[str, Any], trust: Trust) -> tuple[str | None, OwnCode]:
    """Check that `trust` covers all code that a run would import. Nothing is imported yet.

    Asks the user about code that only `trust.everything` covers. Returns the folder to import from, if any, and the own
    code of the run. Raises `DfaError` for code that is not covered.
    """
    foreign = sorted({target for target in targets(config) if not is_of_package(target)})
    recorded = run.provenance.get("config_dir")
    config_dir = trust.config_dir or (recorded if trust.everything else None)
    if not foreign:
        return config_dir, NO_CODE
    add_plugin_folder(config_dir)
    code = find_own_code(config)
    named = _named_in(trust.config_dir) if trust.config_dir else set()
    in_named_folder = [
        target
        for target in foreign
        if trust.config_dir
        and (module := code.modules.get(target.rpartition(".")[0]))
        and Path(module.path).is_relative_to(os.path.abspath(trust.config_dir))
        and module.defines(target.rpartition(".")[2])
    ]
    unknown = [target for target in foreign if target not in named.union(in_named_folder)]
    if unknown and not trust.everything:
        raise DfaError(
            f"run {run.id} uses code that is no part of dfa: {', '.join(map(printable, unknown))}. "
            + (
                f"No file of {trust.config_dir} names it as a _target_ or defines it. "
                if trust.config_dir
                else ""
            )
            + "A record may come from anywhere, so "
            "name the folder of this code with --config-dir FOLDER, or give --trust to import what the record names"
            + (f" (from {recorded})." if recorded else ".")
        )
    if unknown:
        places = [f"{printable(target)}  ({_place(target, code)})" for target in unknown]
        places += [f"{module.path}" for module in code.modules.values()]
        _ask(f"run {run.id} will import and execute:\n  " + "\n  ".join(places))
    return config_dir, code


def _named_in(folder: str) -> set[str]:
    """Return every `_target_` of the YAML files in a folder that the user trusts: what `dfa train` would import."""
    found: set[str] = set()
    for file in Path(folder).rglob("*.yaml"):
        with contextlib.suppress(OSError):
            text = file.read_text("utf-8", errors="replace")
            found.update(re.findall(r"""^[^#\n]*\b_target_['"]?\s*:\s*['"]?([\w.]+)""", text, re.MULTILINE))
    return found


def _place(target: str, code: OwnCode) -> str:
    module = code.modules.get(target.rpartition(".")[0]) or code.modules.get(target.partition(".")[0])
    return module.path if module else "an installed module"


def _ask(question: str) -> None:
    """Ask the user once. Raises `DfaError` without a terminal, or when the answer is no."""
    print(question, file=sys.stderr, flush=True)
    if not sys.stdin.isatty():
        raise DfaError(
            "--trust asks before it imports, and there is no terminal to ask on; use --config-dir FOLDER."
        )
    print("go on? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise DfaError("nothing was imported.")
