"""Estimates the time and the disk space of runs, from the records of runs of the same kind."""

from __future__ import annotations

import contextlib
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from dfa_cli.config.bounds import BOUNDS
from dfa_cli.config.schema import projects, without_facts
from dfa_cli.config.spec import RunSpec
from dfa_cli.console.values import format_value, number
from dfa_cli.records.curves import METRICS
from dfa_cli.records.measures import BY_NAME
from dfa_cli.records.run import Run, flatten
from dfa_cli.records.words import kind_in_words

MOST_RECORDS = 20  # the newest records of a kind from which the time is estimated
MOST_FOLDERS = 5  # those from which the disk space is estimated
# keys at the top level that change how much is computed in an epoch
WORK = ("batch_size", "precision", "compute", "alignment_every")


@dataclass
class Estimate:
    """What the runs of one kind will take, all together.

    `runs`: their number. `records`: the number of records that the estimate is made from. `seconds`: the time of all
    runs. `longest` [seconds]: the time of the longest run. `size` [bytes]: the disk space of all runs. `light`
    [seconds], `joules`: of the modelled optics, less those of `unlit` runs, for whose device there is no record.
    """

    kind: str
    runs: int = 0
    records: int = 0
    seconds: float = 0.0
    size: float = 0.0
    longest: float = 0.0
    light: float = 0.0
    joules: float = 0.0
    unlit: int = 0


def estimate(jobs: Iterable[tuple[RunSpec, int]], completed: Sequence[Run]) -> list[Estimate]:
    """Estimate what runs will take, for each kind of them. Every `auto` must be resolved.

    `jobs`: each run, with the number of its epochs that are done already. `completed`: the records, newest first.
    """
    records = _by_kind(completed)
    costs: dict[str, _Cost] = {}
    found: dict[str, Estimate] = {}
    for spec, done in jobs:
        kind = work_of(spec.config)
        if kind not in costs:
            costs[kind] = _Cost(records.get(kind, ()))
        each = found.setdefault(kind, Estimate(_in_words(spec)))
        seconds = costs[kind].seconds(spec.config["epochs"] - done)
        each.runs += 1
        each.records = costs[kind].records
        each.seconds += seconds
        each.longest = max(each.longest, seconds)
        each.size += costs[kind].size(spec.config["epochs"])
        light = costs[kind].light(spec.config, spec.config["epochs"] - done)
        each.light += light[0] if light else 0.0
        each.joules += light[1] if light else 0.0
        each.unlit += light is None
    _name_differences(found)
    return list(found.values())


def _in_words(spec: RunSpec) -> str:
    """Describe the kind of a run, with the encoding, on which the number of frames depends."""
    words = kind_in_words(spec.config, spec.choices)
    shown = _has_light(spec.config) and not spec.config["device"].get("perfect")
    encoding = spec.choices.get("device/encoding") if shown else None
    named = f", device/encoding={encoding}"
    return words + named if encoding and named not in words else words


def _name_differences(found: Mapping[str, Estimate]) -> None:
    """Add to the words of different kinds that have the same words the keys in which they differ."""
    alike: dict[str, list[str]] = defaultdict(list)
    for work, each in found.items():
        alike[each.kind].append(work)
    for works in alike.values():
        keys = [json.loads(work) for work in works]
        # A class follows from the option that the words name.
        differing = [
            key
            for key in sorted(set().union(*keys))
            if not key.endswith("_target_") and any(each.get(key) != keys[0].get(key) for each in keys)
        ]
        for work, each in zip(works, keys, strict=True):
            listed = [f", {key}={format_value(each[key])}" for key in differing if key in each]
            found[work].kind += "".join(listed)


def startup(completed: Sequence[Run]) -> float | None:
    """Estimate what a process takes until its first run begins, and what this run takes longer than later ones.

    The first run imports what the later ones find there. `None`: no record tells it.
    """
    times = []
    for runs in _by_kind(completed).values():
        cost = _Cost(runs)
        for run in runs:
            if (before := _seconds(run, "startup_seconds")) is not None and (
                parts := _parts(run)
            ) is not None:
                times.append(before + max(parts[1] - cost.other_seconds, 0.0))
    return median(times) if times else None


def _by_kind(completed: Iterable[Run]) -> dict[str, list[Run]]:
    """Return the newest records of each kind of runs."""
    records: dict[str, list[Run]] = defaultdict(list)
    for run in completed:
        try:
            kind = work_of(run.config)
        except (KeyError, TypeError, AttributeError):
            continue  # a damaged configuration
        if len(records[kind]) < MOST_RECORDS:
            records[kind].append(run)
    return records


def _seconds(run: Run, name: str) -> float | None:
    return number((run.record.get("time") or {}).get(name))


def _parts(run: Run) -> tuple[float, float] | None:
    """Return the seconds that a run took for an epoch, and for all that is not training; `None` if they are unknown."""
    epochs = number(run.result.get("last_epoch"))
    training, total = _seconds(run, "train_seconds"), _seconds(run, "total_seconds")
    return (
        (training / epochs, total - training)
        if epochs and training is not None and total is not None
        else None
    )


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
    return json.dumps(kept | {key: config.get(key) for key in WORK}, sort_keys=True)


class _Cost:
    """What a run of one kind takes: a part that each epoch adds, and the rest. All are medians over the records.

    The rest is that of a run which is not the first of its process, if there is such a record.
    """

    def __init__(self, records: Sequence[Run]):
        times = [(run, parts) for run in records if (parts := _parts(run)) is not None]
        self.records = len(times)
        self._epoch_seconds = median(epoch for _, (epoch, _) in times) if times else 0.0
        later = [parts for run, parts in times if _seconds(run, "startup_seconds") is None]
        self.other_seconds = median(other for _, other in later or dict(times).values()) if times else 0.0
        self._records = records
        self._folders = records[:MOST_FOLDERS] if times else []

    def seconds(self, epochs: int) -> float:
        return self._epoch_seconds * epochs + self.other_seconds

    def size(self, epochs: int) -> float:
        epoch, other = self._size_of_parts
        return epoch * epochs + other

    def light(self, config: Mapping[str, Any], epochs: int) -> tuple[float, float] | None:
        """Return the seconds and joules of the modelled optics. Records count whose device differs in seeds alone."""
        if not _has_light(config):
            return (0.0, 0.0)
        device = _device(config)
        found = [light for lit, light in self._lights if lit == device]
        if not found:
            return None
        seconds, joules = (epochs * median(part) for part in zip(*found, strict=True))
        return seconds, joules

    @cached_property
    def _lights(self) -> list[tuple[dict[str, Any], tuple[float, float]]]:
        """The device of each record, and the light of an epoch [s, J]."""
        found = []
        for run in self._records:
            epochs, seconds, joules = (
                BY_NAME[name].value_of(run) for name in ("last_epoch", "modelled_seconds", "modelled_joules")
            )
            if epochs and seconds is not None and joules is not None:
                found.append((_device(run.config), (seconds / epochs, joules / epochs)))
        return found

    @cached_property
    def _size_of_parts(self) -> tuple[float, float]:
        sizes = [_sizes(run) for run in self._folders]
        return (
            (median(epoch for epoch, _ in sizes), median(other for _, other in sizes))
            if sizes
            else (0.0, 0.0)
        )


def _has_light(config: Mapping[str, Any]) -> bool:
    """Tell whether the rule projects by a device whose frames take a modelled time."""
    return projects(config) and "frame_time" in config["device"]


def _device(config: Mapping[str, Any]) -> dict[str, Any]:
    keys = flatten(without_facts(config["device"]))
    return {key: value for key, value in keys.items() if not key.endswith("seed")}


def _sizes(run: Run) -> tuple[float, float]:
    """Return the size of a line of metrics.csv, and of all other files in the folder of a run."""
    table = others = 0
    for folder, _, names in os.walk(run.folder):
        for name in names:
            with contextlib.suppress(OSError):  # deleted meanwhile
                size = Path(folder, name).stat().st_size
                table, others = (table + size, others) if name == METRICS else (table, others + size)
    return table / max(number(run.result.get("last_epoch")) or 1, 1), others
