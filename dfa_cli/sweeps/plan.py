"""Every job of a sweep, known before the first one starts."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dfa_cli.config.auto import settle
from dfa_cli.config.identity import identity
from dfa_cli.config.spec import Job
from dfa_cli.records.find import find

ENDED = ("completed", "reused", "failed", "interrupted", "stopped")


@dataclass(eq=False)
class Point:
    """One configuration of a sweep and what has become of it.

    `state`: waiting; running; elsewhere (another sweep runs it now); completed; reused (its record was there);
    failed; interrupted; stopped (never begun). `words`: the overrides that make it; `label`: those that tell it from
    the others; `folder`: of its record, or where that will be; `attempts`: how often its process was killed.
    """

    words: list[str]
    label: str
    identity: str | None
    epochs: int
    run_id: str = field(default_factory=lambda: secrets.token_hex(4))
    state: str = "waiting"
    folder: Path | None = None
    reason: str = ""
    attempts: int = 0
    epoch: int = 0
    accuracy: float | None = None
    seconds: float | None = None

    @property
    def ended(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True)
class Plan:
    """`points`: each configuration once; `merged`: how many more jobs were named, equal to one of those."""

    points: list[Point]
    merged: int


def plan(jobs: Sequence[Job], outputs: Path, reuse: bool) -> Plan:
    """Jobs with the same identity become one; of those, the ones with a completed record need not run.

    Raises `DfaError` when this machine lacks what a job asks for.
    """
    done = completed(outputs) if reuse else {}
    labels = _labels([job.overrides for job in jobs])
    points: dict[str, Point] = {}
    for job, label in zip(jobs, labels, strict=True):
        config: dict[str, Any] = settle(job.config)
        name = identity(config)
        if name in points:
            continue
        point = points[name] = Point(job.overrides, label, name, config["epochs"])
        if name in done:
            point.state, point.folder = "reused", done[name]
    return Plan(list(points.values()), len(jobs) - len(points))


def completed(outputs: Path) -> dict[str, Path]:
    """Where each configuration that is completed below `outputs` has its newest record."""
    if not outputs.is_dir():
        return {}
    done: dict[str, Path] = {}
    for run in find([outputs]).runs:  # newest first
        if run.status == "completed" and run.identity:
            done.setdefault(run.identity, Path(run.folder))
    return done


def _labels(jobs: Sequence[list[str]]) -> list[str]:
    """Of each job the overrides that not all have; all of them where there is one job only."""
    common = set(jobs[0]).intersection(*jobs) if len(jobs) > 1 else set()
    return [" ".join(word for word in words if word not in common) or "the defaults" for words in jobs]
