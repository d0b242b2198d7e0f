"""Which keys tell the runs of a comparison apart, and which say nothing new."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dfa_cli.config.identity import LATER, todays_name
from dfa_cli.config.schema import projects
from dfa_cli.console.values import MISSING, format_value, sort_key
from dfa_cli.records.keys import DERIVED_CHOICES, IRRELEVANT, Keys, affects_result, value_of
from dfa_cli.records.run import Run


@dataclass
class Split:
    """`columns`: keys that tell groups apart; `dependent_keys`: keys that differ too, as a consequence of the columns;
    `constant`: what all runs share, of the choices, the plain top-level keys and the keys somebody set."""

    columns: list[str] = field(default_factory=list)
    dependent_keys: list[str] = field(default_factory=list)
    constant: dict[str, Any] = field(default_factory=dict)


def key_value(run: Run, key: str) -> Any:
    """What `run` has under `key`; `MISSING` for the keys of a device that the run's rule asks for nothing."""
    return value_of(run, key) if applies(run, key) else MISSING


def applies(run: Run, key: str) -> bool:
    """Whether `key` can change the run's result: a key of the device cannot, where the rule projects nothing."""
    of_device = key == "device" or key.startswith(("device.", "device/"))
    return not (of_device and isinstance(run.config.get("rule"), dict) and not projects(run.config))


def overridden(runs: Iterable[Run]) -> set[str]:
    """Keys that somebody set on a command line, by the names of today."""
    typed = {
        str(item).lstrip("+~").partition("=")[0] for run in runs for item in run.record.get("overrides") or ()
    }
    return {todays_name(key) for key in typed}


def split(runs: Sequence[Run], over: Sequence[str], keys: Keys) -> Split:
    """Sorts the keys of `runs` into columns, followers and constants; what is averaged `over` is neither."""
    found = Split()
    choices = [name for name in keys.choices if name not in DERIVED_CHOICES and name not in IRRELEVANT]
    differing = [name for name in choices if _differs(runs, name)]
    for name in differing:
        parent = name.rpartition("/")[0]
        if parent in choices and not _varies_within(runs, name, [parent]):
            found.dependent_keys.append(name)
        else:
            found.columns.append(name)
    typed = overridden(runs)
    candidates = [key for key in keys.config if _asks(key, over, runs) and _differs(runs, key)]
    candidates.sort(key=lambda key: key not in typed)  # stable: those set on purpose come first
    for key in candidates:
        owners = [name for name in choices if key.startswith(name.partition("@")[0].replace("/", ".") + ".")]
        changed = [name for name in owners if name in differing]
        on_purpose = key in typed and (not changed or _varies_within(runs, key, changed))
        tells = on_purpose or _varies_within(runs, key, found.columns)
        (found.columns if tells else found.dependent_keys).append(key)
    first = runs[0]
    for name in choices:
        if name not in differing and "/" not in name:
            shown = next(
                (key_value(run, name) for run in runs if key_value(run, name) is not MISSING), MISSING
            )
            if shown is not MISSING and shown is not None:
                found.constant[name] = shown
    settled = {*found.columns, *found.dependent_keys}
    for key in keys.config:
        if key in settled or not _asks(key, over, runs) or key.endswith("_target_"):
            continue
        held = first.flat.get(key)
        if key in typed or ("." not in key and _plain(held) and held != LATER.get(key)):
            found.constant[key] = value_of(first, key)
    return found


def _plain(held: Any) -> bool:
    return isinstance(held, (int, float, str)) and not isinstance(held, bool) and held != ""


def _asks(key: str, over: Sequence[str], runs: Sequence[Run]) -> bool:
    """Whether a configuration key can tell groups apart: not averaged over, not irrelevant, not the seed
    again."""
    if key in over or not affects_result(key):
        return False
    if "seed" in over and "seed" in key.rpartition(".")[2]:  # `matrix_seed: ${seed}` dependent_keys the seed
        return any(key in run.flat and run.flat[key] != run.config.get("seed") for run in runs)
    return True


def _differs(runs: Sequence[Run], key: str) -> bool:
    held = (key_value(run, key) for run in runs if applies(run, key))
    first = next(held, MISSING)
    return any(other != first for other in held)


def _varies_within(runs: Sequence[Run], key: str, given: Sequence[str]) -> bool:
    """Whether two runs that agree on all of `given` differ in `key`."""
    seen: dict[tuple[str, ...], str] = {}
    for run in runs:
        here = format_value(key_value(run, key))
        if seen.setdefault(tuple(format_value(key_value(run, one)) for one in given), here) != here:
            return True
    return False


def group_runs(runs: Sequence[Run], columns: Sequence[str]) -> list[tuple[dict[str, Any], list[Run]]]:
    """The runs put together by what they have under `columns`, in the order of those values."""
    groups: dict[tuple[str, ...], tuple[dict[str, Any], list[Run]]] = {}
    for run in runs:
        held = {key: key_value(run, key) for key in columns}
        groups.setdefault(tuple(format_value(one) for one in held.values()), (held, []))[1].append(run)
    return sorted(groups.values(), key=lambda group: [sort_key(one) for one in group[0].values()])


def shortest_names(keys: Sequence[str]) -> dict[str, str]:
    """The shortest end of each key that no other of them shares: `optimizer.lr` -> `lr`."""
    names = {}
    for key in keys:
        parts = key.replace("/", ".").split(".")
        for count in range(1, len(parts) + 1):
            end = ".".join(parts[-count:])
            if sum(("." + other.replace("/", ".")).endswith("." + end) for other in keys) == 1:
                break
        names[key] = end
    return names


def newest_per_identity(runs: Sequence[Run]) -> tuple[list[Run], int]:
    """Of runs with one identity, the newest completed one is kept, else the newest.

    Returns the runs that are left, in their order, and how many completed ones were left out.
    """
    kept: dict[str, Run] = {}
    twice = 0
    for run in sorted(runs, key=lambda run: (run.created, run.id), reverse=True):
        mark = run.identity or json.dumps(run.config, sort_keys=True, default=str)
        other = kept.get(mark)
        if other is None:
            kept[mark] = run
        elif run.status == "completed":
            if other.status == "completed":
                twice += 1
            else:
                kept[mark] = run
    chosen = {id(run) for run in kept.values()}
    return [run for run in runs if id(run) in chosen], twice
