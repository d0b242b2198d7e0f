"""Runs a search: a sweep whose jobs, called trials, are picked one by one by a sweeper such as Optuna."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import IntervalSweep

from dfa_cli.config.command import Command
from dfa_cli.config.overrides import (
    is_hydra_override,
    parse_overrides,
    quote_override,
    sweep_values,
    user_overrides,
)
from dfa_cli.config.own_code import NO_CODE, OwnCode
from dfa_cli.errors import DfaError
from dfa_cli.records.locks import CLAIMS
from dfa_cli.records.run import record_of
from dfa_cli.sweeps.plan import SweepRun
from dfa_cli.sweeps.specs import write_code
from dfa_cli.sweeps.supervisor import Supervisor, Watcher

OPTUNA = "OptunaSweeper"
ADDED_BY_SEARCH = ("outputs=", "progress=")  # overrides that a search adds to those of the user


class Search(Supervisor):
    """Lets the sweeper run trials until its study has as many completed trials as the user asked for."""

    max_attempts = 1  # the sweeper counts a killed trial as failed, and picks another

    def __init__(
        self,
        command: Command,
        study: Study,
        sweep_folder: Path,
        watcher: Watcher,
        code: OwnCode,
        fail_fast: bool = False,
    ):
        super().__init__([], sweep_folder, study.outputs, watcher, fail_fast)
        self.command = command
        self.study = study
        self._code = write_code(sweep_folder, study.outputs, code)

    def _run_all(self) -> None:
        """Start workers until no trial is left.

        A worker that fails is replaced by another one if at least one trial has ended in it. If no trial has,
        `DfaError` is raised, unless a signal from outside has stopped the search.
        """
        while (left := self.study.left()) > 0 and not self._must_stop():
            ended_before = sum(run.ended for run in self.runs)
            code = self._run_worker(
                {
                    "config_name": self.command.config_name,
                    "config_dir": self.command.config_dir,
                    "code": str(self._code),
                    "overrides": [
                        *self.study.overrides(left),
                        f"hydra.sweep.dir={quote_override(str(self.sweep_folder))}",
                    ],
                },
                self.runs,
            )
            if code == 0:
                return
            if ended_before == sum(run.ended for run in self.runs) and not self.stopping:
                raise DfaError(f"The search has stopped: {self._why_worker_ended(code)}")

    def _discover(self) -> None:
        """Add the trials whose folders have appeared. Before that, only the sweeper knows the trials."""
        known = {run.folder for run in self.runs}
        for folder in sorted(self.sweep_folder.iterdir()):
            if folder not in known and (folder / "run.json").exists():
                record = record_of(folder)
                label = self.study.label(trial_overrides(record.get("overrides") or ()))
                epochs = (record.get("config") or {}).get("epochs", 0)
                self.runs.append(SweepRun(label, record.get("identity"), epochs, folder=folder))


def trial_overrides(overrides: Sequence[str]) -> list[str]:
    """Keep the overrides of a trial that describe what is run: those that the user typed or the sweeper picked."""
    return [word for word in user_overrides(overrides) if not word.startswith(ADDED_BY_SEARCH)]


@dataclass(frozen=True)
class Study:
    """The trials that a search has completed, and the number that is left.

    `words`: all overrides, including the searched intervals. `node`: the configuration of the sweeper. `outputs`: the
    folder of the records. `code`: the code of the user's own that the trials import.
    """

    words: list[str]
    node: dict[str, Any]
    outputs: Path
    code: OwnCode = NO_CODE

    @property
    def total(self) -> int | None:
        """The number of trials that the user asked for, or `None` if the sweeper decides it."""
        return self.node["n_trials"] if is_optuna(self.node) else None

    @property
    def name(self) -> str:
        """The configured name, or else a name computed from the overrides, so that equal searches share a study.

        The user's own code is part of either name, so that trials of old and new code never share a study.
        """
        code = json.dumps(self.code.checksums, sort_keys=True) if self.code.modules else ""
        if self.node["study_name"]:
            suffix = f"-{hashlib.sha256(code.encode()).hexdigest()[:8]}" if code else ""
            return f"{self.node['study_name']}{suffix}"
        kept = sorted(
            word
            for word in self.words
            if not is_hydra_override(word) and word.partition("=")[0] not in ("reuse", "fail_fast", "outputs")
        )
        return "dfa-" + hashlib.sha256(("\n".join(kept) + code).encode()).hexdigest()[:12]

    @property
    def storage(self) -> str | None:
        where = self.node["storage"]
        return where.replace("${outputs}", str(self.outputs)) if where else None

    def lock(self) -> Path | None:
        """Return the path of the lock that a search holds, so that no other one runs trials of the same study.

        `None` without a storage, since nothing is shared then.
        """
        if self.storage is None:
            return None
        name = hashlib.sha256(f"{self.storage}\n{self.name}".encode()).hexdigest()[:16]
        is_file = self.storage.startswith("sqlite:///")
        folder = Path(self.storage.removeprefix("sqlite:///")).parent if is_file else self.outputs
        return folder / CLAIMS / f"study-{name}.lock"

    def searches_something(self) -> bool:
        """Tell whether any key has an interval or several values, on the command line or in the configuration."""
        typed = any(override.is_sweep_override() for override in parse_overrides(self.words))
        return typed or bool(self.node.get("params") or self.node.get("search_space"))

    def left(self) -> int:
        """Return the number of trials that are left to run, or 1 when only the sweeper knows."""
        if self.total is None:
            return 1
        return max(0, self.total - len(self._completed()))

    def best(self) -> str | None:
        """Describe the best trial so far in a sentence. Returns `None` before any is completed."""
        trials = [trial for trial in self._completed() if trial.value is not None]
        if not trials:
            return None
        sign = 1 if str(self.node["direction"]).lower().endswith("maximize") else -1
        best = max(trials, key=lambda trial: sign * trial.value)
        words = "".join(f"{key}={value} " for key, value in best.params.items())
        count = f"{len(trials)} trial{'s' if len(trials) > 1 else ''}"
        return f"best of {count}: {words}with a validation accuracy of {100 * best.value:.1f} %"

    def overrides(self, left: int) -> list[str]:
        """Return the overrides with which the sweeper is started for the trials that are left."""
        # Make `outputs` absolute, so that the study's storage is found from every folder in which a job runs.
        words = [*self.words, "progress=none", f"outputs={quote_override(str(self.outputs))}"]
        if self.total is not None:
            words += [f"hydra.sweeper.n_trials={left}", f"hydra.sweeper.study_name={self.name}"]
        return words

    def label(self, words: Sequence[str]) -> str:
        """Label a trial by the overrides that were searched."""
        fixed = {word for word in self.words if not parse_overrides([word])[0].is_sweep_override()}
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
        summaries = optuna.get_all_study_summaries(self.storage)
        if self.name not in {summary.study_name for summary in summaries}:
            return []
        trials = optuna.load_study(study_name=self.name, storage=self.storage).get_trials(deepcopy=False)
        return [trial for trial in trials if trial.state == optuna.trial.TrialState.COMPLETE]


def is_optuna(node: dict[str, Any]) -> bool:
    return node["_target_"].endswith(OPTUNA)


def combinations_for_each_option(words: Sequence[str], groups: Collection[str]) -> list[list[str]]:
    """Return combinations in which each option that a search lists for these groups occurs at least once."""
    first = first_combination(words)
    combinations = [first]
    for number, override in enumerate(parse_overrides(words)):
        key = override.get_key_element()
        if key in groups and override.is_sweep_override():
            for option in sweep_values(override)[1:]:
                combinations.append([*first[:number], f"{key}={option}", *first[number + 1 :]])
    return combinations


def searched_data(node: Mapping[str, Any], words: Sequence[str]) -> list[str]:
    """Return the values of `data` and `model` that the configuration of the sweeper lists, as overrides.

    A key that the user typed is left out, so the typed value holds.
    """
    typed = {word.partition("=")[0] for word in words}
    listed = node.get("params") or {}
    return [f"{key}={listed[key]}" for key in ("data", "model") if key in listed and key not in typed]


def first_combination(words: Sequence[str]) -> list[str]:
    """Return one combination of a sweep, to check that it composes.

    It has the first value of each list and the lower end of each interval.
    """
    combination = []
    for override in parse_overrides(words):
        key, value = override.get_key_element(), override.value()
        if isinstance(value, IntervalSweep):
            if value.start is None:
                raise DfaError(
                    f"{override.input_line} has no lower end; give both, as in interval(0.001,0.1)."
                )
            combination.append(f"{key}={value.start}")
        elif override.is_sweep_override():
            combination.append(f"{key}={sweep_values(override)[0]}")
        else:
            combination.append(override.input_line or "")
    return combination
