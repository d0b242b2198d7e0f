"""A sweeper that picks its jobs one by one, as Optuna does: what is left of its study."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import IntervalSweep

from dfa_cli.config.overrides import parsed, quoted, values_of
from dfa_cli.config.spec import Job
from dfa_cli.errors import DfaError

BASIC, OPTUNA = "BasicSweeper", "OptunaSweeper"


@dataclass(frozen=True)
class Search:
    """`words`: all overrides, the searched ranges among them; `node`: the sweeper's configuration; `hydra`: the
    overrides that are Hydra's own."""

    words: list[str]
    node: dict[str, Any]
    hydra: list[str]
    outputs: Path

    @property
    def total(self) -> int | None:
        """Trials in all; `None` when only the sweeper knows."""
        return self.node["n_trials"] if is_optuna(self.node) else None

    @property
    def study(self) -> str:
        """The study's name: its own, or one that equal searches share."""
        if self.node["study_name"]:
            return self.node["study_name"]
        kept = sorted(
            word for word in self.words if word.partition("=")[0] not in ("reuse", "fail_fast", "outputs")
        )
        return "dfa-" + hashlib.sha256("\n".join(kept).encode()).hexdigest()[:12]

    @property
    def storage(self) -> str | None:
        where = self.node["storage"]
        return where.replace("${outputs}", str(self.outputs)) if where else None

    def left(self) -> int:
        """Trials that are still to be completed, 1 when only the sweeper knows."""
        if self.total is None:
            return 1
        return max(0, self.total - len(self._completed()))

    def best(self) -> str | None:
        """The best trial so far in a sentence."""
        trials = [trial for trial in self._completed() if trial.value is not None]
        if not trials:
            return None
        sign = 1 if str(self.node["direction"]).lower().endswith("maximize") else -1
        best = max(trials, key=lambda trial: sign * trial.value)
        words = "".join(f"{key}={value} " for key, value in best.params.items())
        count = f"{len(trials)} trial{'s' if len(trials) > 1 else ''}"
        return f"best of {count}: {words}with a validation accuracy of {100 * best.value:.1f} %"

    def arguments(self, left: int) -> list[str]:
        """Hydra's arguments for the trials that are left."""
        # the storage's path is to be the same wherever the jobs run
        arguments = [*self.hydra, *self.words, "progress=none", f"outputs={quoted(str(self.outputs))}"]
        if self.total is not None:
            arguments += [f"hydra.sweeper.n_trials={left}", f"hydra.sweeper.study_name={self.study}"]
        return arguments

    def label(self, words: Sequence[str]) -> str:
        """Of a trial's overrides those that were searched."""
        fixed = {word for word in self.words if not parsed([word])[0].is_sweep_override()}
        return " ".join(word for word in words if word not in fixed)

    def _completed(self) -> list[Any]:
        if not self.storage:
            return []
        import optuna

        optuna.logging.set_verbosity(logging.WARNING)
        if (
            self.storage.startswith("sqlite:///")
            and not Path(self.storage.removeprefix("sqlite:///")).exists()
        ):
            return []
        if self.study not in {one.study_name for one in optuna.get_all_study_summaries(self.storage)}:
            return []
        trials = optuna.load_study(study_name=self.study, storage=self.storage).get_trials(deepcopy=False)
        return [trial for trial in trials if trial.state == optuna.trial.TrialState.COMPLETE]


def is_search(job: Job) -> bool:
    return not job.sweeper["_target_"].endswith(BASIC)


def is_optuna(node: dict[str, Any]) -> bool:
    return node["_target_"].endswith(OPTUNA)


def example(words: Sequence[str]) -> list[str]:
    """One point of the searched space, to see whether it composes: the first choice, the lower end of a range."""
    point = []
    for override in parsed(words):
        key, value = override.get_key_element(), override.value()
        if isinstance(value, IntervalSweep):
            if value.start is None:
                raise DfaError(
                    f"{override.input_line} has no lower end; give both, as in interval(0.001,0.1)."
                )
            point.append(f"{key}={value.start}")
        elif override.is_sweep_override():
            point.append(f"{key}={values_of(override)[0]}")
        else:
            point.append(override.input_line or "")
    return point
