"""What a run has to know of its other processes, if it has any."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from dfa_cli.config.instantiate import build
from dfa_cli.config.spec import RunSpec
from dfa_cli.parallel.processes import Team, joined
from dfa_cli.training.setup import Experiment


class Plan(Protocol):
    """What `parallel._target_` names: a way to divide a run over processes.

    `processes`: their number. `part`: what a message calls the part of one of them.
    """

    processes: int
    part: str

    def require(self, config: Mapping[str, Any]) -> None:
        """Raise `DfaError` for options that do not go together. This is called before the data are read."""
        ...

    def require_divisible(self, experiment: Experiment, choices: Mapping[str, str]) -> None:
        """Raise `DfaError` for an experiment that cannot be divided. This is called before a process is started.

        `choices`: the option chosen of each group, as messages name them.
        """
        ...

    def divide(self, experiment: Experiment, team: Team) -> Experiment:
        """Return the part of the experiment that this process computes. Every process calls it."""
        ...


class Together:
    """The processes of a run, as each of them sees the others. Without `parallel` there is only one process.

    The process with rank 0 starts the others when it has found no mistake in the experiment, unless a launcher has
    started them. A `with` block encloses the run. In place of an exception it raises `StageError` when another process
    has ended.
    """

    def __init__(self, spec: RunSpec, folder: Path, resumed: bool = False):
        self._spec, self._folder, self._resumed = spec, folder, resumed
        self._plan: Plan | None = None
        self._team: Team | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Together:
        config = self._spec.config
        if config["parallel"]:
            self._plan = build(config["parallel"])
            assert self._plan is not None
            self._plan.require(config)
            if "RANK" in os.environ:
                self._team = self._join(self._plan)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    def divide(self, experiment: Experiment) -> Experiment:
        """Return the part of the experiment that this process computes."""
        if self._plan is None:
            return experiment
        self._plan.require_divisible(experiment, self._spec.choices)
        self._team = self._team or self._join(self._plan)
        divided = self._plan.divide(experiment, self._team)
        self._team.meet()  # Otherwise the first training step would wait until all processes have started.
        return divided

    def tell(self, value: Any) -> Any:
        """Return the plain data of the process that owns the record, in every process."""
        return value if self._team is None else self._team.tell(value)

    def _join(self, plan: Plan) -> Team:
        """Connect the processes. The others are started if they are not there yet."""
        spec = self._spec
        if "RANK" not in os.environ and spec.code.modules:
            spec.code.keep(Path(spec.config["outputs"]))  # The other processes read the copies.
        order = {
            "config": spec.config,
            "choices": spec.choices,
            "config_dir": spec.config_dir,
            "code": spec.code.as_json(),
            "folder": str(self._folder),
            "resumed": self._resumed,
        }
        arguments = ["-m", "dfa_cli.launch.stage", json.dumps(order)]
        return self._stack.enter_context(joined(plan.processes, arguments, spec.config["compute"], plan.part))
