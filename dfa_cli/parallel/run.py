"""What a run has to know of its other processes, if it has any."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from dfa_cli.config.instantiate import build
from dfa_cli.config.spec import RunSpec
from dfa_cli.parallel.processes import Team, joined
from dfa_cli.training.setup import Experiment


class Plan(Protocol):
    """What `parallel._target_` names: a way to divide a run over processes."""

    processes: int

    def require(self, config: dict[str, Any]) -> None:
        """Raise `DfaError` for what does not go together. This is called before the processes are started."""
        ...

    def divide(self, experiment: Experiment, team: Team) -> Experiment:
        """Return the part of the experiment that this process computes. Every process calls it."""
        ...


class Together:
    """The processes of a run, as each of them sees the others. Without a plan there is only one process."""

    def __init__(self, plan: Plan | None = None, team: Team | None = None):
        self._plan, self._team = plan, team

    def divide(self, experiment: Experiment) -> Experiment:
        """Return the part of the experiment that this process computes."""
        if self._plan is None or self._team is None:
            return experiment
        return self._plan.divide(experiment, self._team)

    def tell(self, value: Any) -> Any:
        """Return the plain data of the process that owns the record, in every process."""
        return value if self._team is None else self._team.tell(value)


@contextmanager
def together(spec: RunSpec, folder: Path, resumed: bool = False) -> Iterator[Together]:
    """Be one of the processes that the run needs, for the block. The others are started if they are not there yet.

    Raises `StageError` when another process has ended.
    """
    if not spec.config["parallel"]:
        yield Together()
        return
    plan: Plan = build(spec.config["parallel"])
    plan.require(spec.config)
    if "RANK" not in os.environ and spec.code.modules:
        spec.code.keep(Path(spec.config["outputs"]))  # The other processes read the copies.
    order = {
        "config": spec.config,
        "choices": spec.choices,
        "config_dir": spec.config_dir,
        "code": spec.code.as_json(),
        "folder": str(folder),
        "resumed": resumed,
    }
    arguments = ["-m", "dfa_cli.launch.stage", json.dumps(order)]
    with joined(plan.processes, arguments, spec.config["compute"]) as team:
        yield Together(plan, team)
