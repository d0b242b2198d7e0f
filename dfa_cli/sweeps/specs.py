"""Writes and reads `.sweep/specs.json`, which holds the composed jobs of a sweep and Hydra's settings to launch them.

Jobs are composed and checked once, before the first one starts, and run exactly as they are written in that file. A
YAML file that is edited while the sweep runs changes no later job.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.conf import HydraConf
from omegaconf import DictConfig, OmegaConf, open_dict

from dfa_cli.config.own_code import OwnCode
from dfa_cli.config.spec import RunSpec
from dfa_cli.errors import DfaError
from dfa_cli.machine.files import write_atomically
from dfa_cli.machine.provenance import code_state

SPECS = ".sweep/specs.json"  # inside the sweep's folder


@dataclass(frozen=True)
class PlacedRun:
    """A run that is ready to be launched. `folder`: the name of its folder inside the sweep's folder."""

    spec: RunSpec
    folder: str

    @property
    def run_id(self) -> str:
        return self.spec.config["run_id"]


def write_specs(
    sweep_folder: Path, hydra: DictConfig, jobs: Mapping[str, PlacedRun], batch: Sequence[str]
) -> Path:
    """Write the jobs to the specs file of the sweep in `sweep_folder`. Returns the path of the file.

    `hydra`: Hydra's own node, from the composition of any of the jobs. `jobs`: all jobs, by their run ids. `batch`: the
    run ids of the jobs to launch now. Jobs that an earlier sweep has written there stay, since a cluster may still have
    them in its queue.
    """
    path = sweep_folder / SPECS
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))["jobs"]
    except (OSError, ValueError, KeyError, TypeError):
        earlier = {}
    content = {
        "hydra": OmegaConf.to_container(hydra, enum_to_str=True),
        "jobs": {**earlier}
        | {
            run_id: {
                "config": _to_json(job.spec.config),
                "choices": job.spec.choices,
                "overrides": job.spec.overrides,
                "folder": job.folder,
            }
            for run_id, job in jobs.items()
        },
        "batch": list(batch),
    }
    write_atomically(path, json.dumps(content, indent=1))
    return path


def write_code(sweep_folder: Path, outputs: Path, code: OwnCode) -> Path:
    """Write which code the jobs of a sweep run with, and keep a copy of the user's own. Returns the path of the file.

    The file is named by its content, so a later sweep in the same folder changes nothing for jobs that still wait in
    the queue of a cluster.
    """
    code.keep(outputs)
    content = json.dumps({"own": code.as_json(), "tool": code_state()})
    path = sweep_folder / f".sweep/code_{hashlib.sha256(content.encode()).hexdigest()[:16]}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        write_atomically(path, content)
    return path


@functools.lru_cache(maxsize=4)
def read_code(path: Path, outputs: Path) -> OwnCode:
    """Return the own code of a sweep, as it was when the sweep began.

    Raises `DfaError` where the code of dfa itself, or a file without a copy, has changed since.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    then, now = content["tool"], code_state()
    if then != now:
        raise DfaError(
            f"The checkout of dfa has changed since this sweep began: {_commit(then)} then, {_commit(now)} now. "
            "Give the command again to run the jobs with the new code."
        )
    return OwnCode.from_copies(content["own"], outputs)


def _commit(state: Mapping[str, Any]) -> str:
    changes = f" with changes {str(state.get('diff'))[:8]}" if state.get("dirty") else ""
    return f"commit {str(state.get('commit'))[:10]}{changes}"


def batch_overrides(path: Path) -> list[list[str]]:
    """Return, for each job of the batch, the overrides that a launcher is given: the run id, then the job's own."""
    content = _read(path)
    return [[f"run_id={run_id}", *content["jobs"][run_id]["overrides"]] for run_id in content["batch"]]


def sweep_config(path: Path) -> DictConfig:
    """Return the configuration with which a launcher is set up: Hydra's node, and the values that this node may use."""
    content = _read(path)
    return _with_hydra_node(next(iter(content["jobs"].values()))["config"], content["node"])


def job_config(path: Path, master: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Return the configuration of one job, with Hydra's node, when a launcher asks for it.

    `overrides`: the first names the job by its run id. The others only appear in the launcher's own log.
    """
    content = _read(path)
    job = content["jobs"][overrides[0].removeprefix("run_id=")]
    config = _with_hydra_node(job["config"], content["node"])
    with open_dict(config.hydra):
        config.hydra.sweep.subdir = job["folder"]
        config.hydra.overrides.task = job["overrides"]
        config.hydra.runtime.choices = {**config.hydra.runtime.choices, **job["choices"]}
    return config


def _with_hydra_node(values: dict[str, Any], node: DictConfig) -> DictConfig:
    config = DictConfig(_from_json(values))
    with open_dict(config):
        config.hydra = node  # OmegaConf copies the node
    return config


def _read(path: Path) -> dict[str, Any]:
    """Return what the file holds, from memory as long as the file has not been written again."""
    return _read_once(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _read_once(path: Path, written: int) -> dict[str, Any]:
    """Read the file once for each time that it is written.

    Its `node` is Hydra's node, with the type that Hydra expects.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    node = OmegaConf.structured(HydraConf)
    OmegaConf.set_struct(node, False)  # plugins add keys that HydraConf does not have
    node = OmegaConf.merge(node, content["hydra"])
    node.sweep.dir = str(path.parents[1])  # not the recorded path: the folder may have been moved
    return {**content, "node": node}


def _to_json(value: Any) -> Any:
    """Return a plain configuration as JSON can hold it.

    A dictionary with keys that are no strings becomes a list of pairs, in a dictionary with the one key `""`.
    """
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {key: _to_json(held) for key, held in value.items()}
        return {"": [[key, _to_json(held)] for key, held in value.items()]}
    return [_to_json(held) for held in value] if isinstance(value, list) else value


def _from_json(value: Any) -> Any:
    """Undo `_to_json`, and escape `${`: in a resolved configuration `${` is text and begins no interpolation."""
    if isinstance(value, dict):
        pairs = value[""] if set(value) == {""} else value.items()
        return {key: _from_json(held) for key, held in pairs}
    if isinstance(value, str):
        return value.replace("${", "\\${")
    return [_from_json(held) for held in value] if isinstance(value, list) else value
