"""Hydra takes plugins from the namespace package `hydra_plugins` only; `dfa_cli/sweeps` is where this one belongs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from dfa_cli.config.hydra_cache import SharingLoader


class ListedJobs(Sweeper):
    """Hands a given list of jobs to the launcher, where Hydra's own sweeper launches every combination.

    `jobs`: a JSON file with a list of overrides for each job; `first`: the number of the first job; `at_once`: how
    many the launcher gets at a time, for a launcher that would start them all at once; `params`: the lists of an
    experiment, which are in the jobs by now.
    """

    def __init__(self, jobs: str, first: int, at_once: int | None, params: Any = None):
        self.jobs = Path(jobs)
        self.first = first
        self.at_once = at_once

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        hydra_context = dataclasses.replace(
            hydra_context, config_loader=SharingLoader(hydra_context.config_loader)
        )
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        jobs = json.loads(self.jobs.read_text(encoding="utf-8"))
        size = self.at_once or len(jobs)
        assert self.launcher is not None
        return [
            self.launcher.launch(jobs[start : start + size], initial_job_idx=self.first + start)
            for start in range(0, len(jobs), size)
        ]


ConfigStore.instance().store(
    group="hydra/sweeper",
    name="listed",
    node={"_target_": f"{__name__}.{ListedJobs.__name__}", "jobs": "???", "first": 0, "at_once": None},
    provider="dfa",
)
