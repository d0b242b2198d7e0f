"""Finds the keys in which the runs of a comparison differ, and puts the runs into groups by them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dfa_cli.config.identity import LATER, todays_name
from dfa_cli.config.schema import projects
from dfa_cli.console.values import MISSING, format_value, sort_key
from dfa_cli.records.keys import DERIVED_CHOICES, IRRELEVANT, Keys, affects_result, value_of
from dfa_cli.records.run import SUMS, Run


@dataclass
class KeyRoles:
    """The part that each key plays in a comparison.

    `columns`: keys that tell the rows apart. `dependent_keys`: keys that also differ, as a consequence of the
    columns. `constant`: values that all runs share. It holds the option chosen in each group, the plain
    values at the top level, and the keys that a user set.
    """

    columns: list[str] = field(default_factory=list)
    dependent_keys: list[str] = field(default_factory=list)
    constant: dict[str, Any] = field(default_factory=dict)


def key_value(run: Run, key: str) -> Any:
    """Returns what `run` has under `key`; `MISSING` for a key of the device if the run's rule projects nothing."""
    return value_of(run, key) if key_applies(run, key) else MISSING


def key_applies(run: Run, key: str) -> bool:
    """Tells whether `key` can tell runs apart.

    A key of the device cannot if the rule projects nothing. The files of the data set cannot if they were never read.
    The size of a batch cannot with a graph, which is always one batch.
    """
    if key == "data.files" and key not in run.flat:
        return False
    if key == "batch_size":
        return run.flat.get("data.gives") != "graph"
    return not (is_of_device(key) and isinstance(run.config.get("rule"), dict) and not projects(run.config))


def is_of_device(key: str) -> bool:
    """Tells whether `key` is one of the projection device, or the choice of it."""
    return key == "device" or key.startswith(("device.", "device/"))


def overridden(runs: Iterable[Run]) -> set[str]:
    """Returns the keys that a command line set, or a grid of an experiment, under today's names."""
    typed = {
        str(item).lstrip("+~").partition("=")[0] for run in runs for item in run.record.get("overrides") or ()
    }
    return {todays_name(key) for key in typed}


def by_whom(runs: Iterable[Run]) -> str:
    """Says who may have set the keys of `overridden`: a record does not tell typed words from those of a grid."""
    return "by hand or by the experiment" if any(run.choices.get("experiment") for run in runs) else "by hand"


def classify_keys(runs: Sequence[Run], over: Sequence[str], keys: Keys) -> KeyRoles:
    """Sorts the keys of `runs` into columns, dependent keys and constants.

    The keys in `over`, over which the rows average, are none of these. A key that differs becomes a column if it varies
    between runs that agree in the columns so far, and in the options of `over`. A key that a user set also becomes a
    column, unless the chosen options explain all its values.
    """
    roles = KeyRoles()
    choices = [name for name in keys.choices if name not in DERIVED_CHOICES and name not in IRRELEVANT]
    differing = [name for name in choices if differs(runs, name)]
    averaged = [name for name in choices if name in over]
    for name in differing:
        if name in averaged:
            continue
        # A group such as `a/b` needs no column if the option of `a` determines the option of `a/b`.
        parent = name.rpartition("/")[0]
        if parent in choices and not _varies_within(runs, name, [parent]):
            roles.dependent_keys.append(name)
        else:
            roles.columns.append(name)
    typed = overridden(runs)
    candidates = [key for key in keys.config if _can_differ(key, over, runs) and differs(runs, key)]
    candidates.sort(key=lambda key: key not in typed)  # Keys set on purpose come first; the sort is stable.
    for key in candidates:
        owners = [name for name in choices if key.startswith(name.partition("@")[0].replace("/", ".") + ".")]
        changed = [name for name in owners if name in differing]
        on_purpose = key in typed and (not changed or _varies_within(runs, key, changed))
        is_column = on_purpose or _varies_within(runs, key, [*roles.columns, *averaged])
        (roles.columns if is_column else roles.dependent_keys).append(key)
    first = runs[0]
    for name in choices:
        if name not in differing and name not in over and "/" not in name:
            shown = next(
                (key_value(run, name) for run in runs if key_value(run, name) is not MISSING), MISSING
            )
            if shown is not MISSING and shown is not None and (name, shown) != ("parallel", "none"):
                roles.constant[name] = shown
    differing_keys = {*roles.columns, *roles.dependent_keys}
    for key in keys.config:
        if (
            key in differing_keys
            or not _can_differ(key, over, runs)
            or key.endswith("_target_")
            or key in SUMS
        ):
            continue
        value = first.flat.get(key)
        if key in typed or ("." not in key and _is_plain(value) and value != LATER.get(key)):
            user = next((run for run in runs if key_applies(run, key)), None)
            if user is not None:
                roles.constant[key] = value_of(user, key)
    return roles


def _is_plain(value: Any) -> bool:
    return isinstance(value, (int, float, str)) and not isinstance(value, bool) and value != ""


def _can_differ(key: str, over: Sequence[str], runs: Sequence[Run]) -> bool:
    """Tells whether a configuration key can distinguish rows.

    It cannot if it is averaged over, does not affect the result, or is always equal to a seed that is averaged over.
    """
    if key in over or not affects_result(key):
        return False
    if "seed" in over and "seed" in key.rpartition(".")[2]:  # such as `matrix_seed: ${seed}`
        return any(key in run.flat and run.flat[key] != run.config.get("seed") for run in runs)
    return True


def differs(runs: Sequence[Run], key: str) -> bool:
    """Tells whether two runs, of those to which `key` applies, have different values of it."""
    values = (key_value(run, key) for run in runs if key_applies(run, key))
    first = next(values, MISSING)
    return any(value != first for value in values)


def _varies_within(runs: Sequence[Run], key: str, equal_keys: Sequence[str]) -> bool:
    """Tells whether two runs that agree on all of `equal_keys` differ in `key`."""
    first_values: dict[tuple[str, ...], str] = {}
    for run in runs:
        value = format_value(key_value(run, key))
        shared = tuple(format_value(key_value(run, other)) for other in equal_keys)
        if first_values.setdefault(shared, value) != value:
            return True
    return False


def group_runs(runs: Sequence[Run], columns: Sequence[str]) -> list[tuple[dict[str, Any], list[Run]]]:
    """Groups the runs by their values under `columns`; the groups are sorted by these values."""
    groups: dict[tuple[str, ...], tuple[dict[str, Any], list[Run]]] = {}
    for run in runs:
        values = {key: key_value(run, key) for key in columns}
        groups.setdefault(tuple(format_value(value) for value in values.values()), (values, []))[1].append(
            run
        )
    return sorted(groups.values(), key=lambda group: [sort_key(value) for value in group[0].values()])


def shortest_names(keys: Sequence[str]) -> dict[str, str]:
    """Shortens each key to its shortest ending that no other key has: `optimizer.lr` -> `lr`."""
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
    """Keeps one run of each identity: the newest completed one, or the newest if none is completed.

    Returns the runs that are kept, in their order, and how many completed ones are left out.
    """
    kept: dict[str, Run] = {}
    duplicates = 0
    for run in sorted(runs, key=lambda run: (run.created, run.id), reverse=True):
        identity = run.identity or json.dumps(run.config, sort_keys=True, default=str)
        identity += str(run.flat.get("data.files"))
        # The other files of one's own are in the identity.
        identity += str((run.record.get("code") or {}).get("late"))
        kept_run = kept.get(identity)
        if kept_run is None:
            kept[identity] = run
        elif run.status == "completed":
            if kept_run.status == "completed":
                duplicates += 1
            else:
                kept[identity] = run
    kept_ids = {id(run) for run in kept.values()}
    return [run for run in runs if id(run) in kept_ids], duplicates
