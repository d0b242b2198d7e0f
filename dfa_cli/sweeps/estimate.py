"""Estimates the time and the disk space of runs, from the records of runs of the same kind."""

from __future__ import annotations

import contextlib
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from dfa_cli.config.bounds import BOUNDS
from dfa_cli.config.schema import projects, without_facts
from dfa_cli.config.spec import RunSpec
from dfa_cli.console.values import number
from dfa_cli.records.curves import METRICS
from dfa_cli.records.run import Run, flatten
from dfa_cli.records.words import kind_in_words

MOST_RECORDS = 20  # the newest records of a kind from which the time is estimated
MOST_FOLDERS = 5  # those from which the disk space is estimated
# keys at the top level that change how much is computed in an epoch
WORK = ("batch_size", "precision", "compute", "alignment_every")


@dataclass
class Estimate:
    """The runs of one kind. `records`: the number of records that the estimate is made from. In seconds and bytes."""

    kind: str
    runs: int = 0
    records: int = 0
    seconds: float = 0.0
    size: float = 0.0
    longest: float = 0.0


def estimate(jobs: Iterable[tuple[RunSpec, int]], completed: Sequence[Run]) -> list[Estimate]:
    """Estimate what runs will take, for each kind of them. Every `auto` must be resolved.

    `jobs`: each run, with the number of its epochs that are done already. `completed`: the records, newest first.
    """
    records: dict[str, list[Run]] = defaultdict(list)
    for run in completed:
        try:
            kind = work_of(run.config)
        except (KeyError, TypeError, AttributeError):
            continue  # a damaged configuration
        if len(records[kind]) < MOST_RECORDS:
            records[kind].append(run)
    costs: dict[str, _Cost] = {}
    found: dict[str, Estimate] = {}
    for spec, done in jobs:
        kind = work_of(spec.config)
        if kind not in costs:
            costs[kind] = _Cost(records.get(kind, ()))
        each = found.setdefault(kind, Estimate(kind_in_words(spec.config, spec.choices)))
        seconds = costs[kind].seconds(spec.config["epochs"] - done)
        each.runs += 1
        each.records = costs[kind].records
        each.seconds += seconds
        each.longest = max(each.longest, seconds)
        each.size += costs[kind].size(spec.config["epochs"])
    return list(found.values())


def work_of(config: Mapping[str, Any]) -> str:
    """Return what decides how much a run computes in an epoch: the same text for runs of the same kind.

    Seeds and real numbers, such as the learning rate, play no part.
    """
    groups = ("model", "rule", "data", "device") if projects(config) else ("model", "rule", "data")
    keys = flatten({group: without_facts(config[group]) for group in groups})
    kept = {
        key: value
        for key, value in keys.items()
        if not isinstance(value, float)
        and not key.endswith("seed")
        and not (key in BOUNDS and BOUNDS[key].real)
    }
    return json.dumps([kept, [config.get(key) for key in WORK]], sort_keys=True)


class _Cost:
    """What a run of one kind takes: a part that each epoch adds, and the rest. All are medians over the records."""

    def __init__(self, records: Sequence[Run]):
        times = [
            (training / epochs, total - training)
            for run in records
            if (epochs := number(run.result.get("last_epoch")))
            and (training := number((run.record.get("time") or {}).get("train_seconds"))) is not None
            and (total := number((run.record.get("time") or {}).get("total_seconds"))) is not None
        ]
        self.records = len(times)
        self._epoch_seconds = median(epoch for epoch, _ in times) if times else 0.0
        self._other_seconds = median(other for _, other in times) if times else 0.0
        sizes = [_sizes(run) for run in records[:MOST_FOLDERS]] if times else []
        self._epoch_size = median(epoch for epoch, _ in sizes) if sizes else 0.0
        self._other_size = median(other for _, other in sizes) if sizes else 0.0

    def seconds(self, epochs: int) -> float:
        return self._epoch_seconds * epochs + self._other_seconds

    def size(self, epochs: int) -> float:
        return self._epoch_size * epochs + self._other_size


def _sizes(run: Run) -> tuple[float, float]:
    """Return the size of a line of metrics.csv, and of all other files in the folder of a run."""
    table = others = 0
    for folder, _, names in os.walk(run.folder):
        for name in names:
            with contextlib.suppress(OSError):  # deleted meanwhile
                size = Path(folder, name).stat().st_size
                table, others = (table + size, others) if name == METRICS else (table, others + size)
    return table / max(number(run.result.get("last_epoch")) or 1, 1), others
