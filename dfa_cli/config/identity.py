"""The identity of a configuration: equal for configurations with equal results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dfa_cli.config.bounds import BOUNDS, is_whole, lookup, shown
from dfa_cli.config.schema import projects, without_facts

# what cannot change a result: where it is written, how fast, how it is shown
OUTSIDE_IDENTITY = (
    "outputs",
    "run_id",
    "threads",
    "progress",
    "data_dir",
    "mirrors",
    "data_fallback",
    "checkpoint_every",
    "reuse",
    "fail_fast",
)


@dataclass(frozen=True)
class Dropped:
    """An option that this version no longer has.

    `of`: the `_target_` of the node that held it, or `None` for a key at the top level; the same key in a node of
    another class is another option. `value`: the only value with which this version computes, spelt as JSON had it
    in the identity (`1.0`, not `1`, where the bound of the key said `real`).
    """

    of: str | None
    value: Any


# Dotted keys that came after the first records were made, with what every run before had. At that value a key is
# left out of the identity, so that those records stay valid; `modernised` gives it to configurations without it.
LATER: dict[str, Any] = {"precision": "fp32"}

# Dotted keys and `_target_`s that have another name now: the old name and the new one. An entry is one change of a
# name, as it was made; a name that changes again gets another entry below, and none is ever edited. No two names get
# the same new one, or the way back would be lost. A key inside a group is renamed only in a node of a class of ours:
# the keys of other people's classes are theirs.
RENAMED: dict[str, str] = {
    "rule.share": "rule.share_columns",
    "rule.spread": "rule.spread_over_edges",
    "decay": "weight_decay_on",
    "device.readout.of": "device.readout.wrapped",
}

# Dotted keys that are gone. These keys and classes, and the keys of `LATER`, have the names of today: whoever renames
# one of them renames it here, too.
DROPPED: dict[str, Dropped] = {
    "device.saturation_warning": Dropped("dfa_cli.devices.opu.OPU", 0.01),
    "device.medium.dense": Dropped("dfa_cli.devices.opu.Auto", 33554432),
    "device.medium.procedural": Dropped("dfa_cli.devices.opu.Auto", 68719476736),
    "device.medium.most": Dropped("dfa_cli.devices.opu.Dense", 268435456),
}


def identity(config: Mapping[str, Any]) -> str:
    """16 hexadecimal digits that are equal for configurations with equal results.

    SHA-256 of the configuration as JSON with sorted keys, less what cannot change a result: where it is written,
    the number of threads, the projection device where the rule projects nothing, and a key of `LATER` where it
    says what held before there was one. `lr: 1` is `lr: 1.0`. The names are the first ones that each key and each
    class had, and dropped options are there at the value they stood for, so a configuration of any age has one
    identity, for ever.
    """
    kept = {key: value for key, value in modernised(config).items() if key not in OUTSIDE_IDENTITY}
    for key, before in LATER.items():
        if lookup(kept, key) == (before, True):
            kept = _less(kept, key)
    real = [key for key, bound in BOUNDS.items() if bound.real]
    real += [key for key, gone in DROPPED.items() if isinstance(gone.value, float)]
    for key in real:
        if is_whole(value := lookup(kept, key)[0]):
            kept = _with(kept, key, float(value))
    if not projects(config):
        kept.pop("device")
    for group in ("model", "rule", "device", "data", "optimizer"):
        if group in kept:
            kept[group] = without_facts(kept[group])
    text = json.dumps(_with_first_names(kept), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def modernised(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration of any age with today's names, as this version would have composed it.

    Renamed keys and classes get their new names; a dropped key goes where it holds the value it stood for, and stays
    where it holds another one, since this version has nothing equal to that run; the keys of `LATER` that it lacks
    are added where it has their group.
    """
    today = _renamed(config, RENAMED.items()) if RENAMED else dict(config)
    for key, gone in DROPPED.items():
        if lookup(today, key) == (gone.value, True) and _is_of(today, key, gone):
            today = _less(today, key)
    for key, before in LATER.items():
        group, _, name = key.rpartition(".")
        if not group:
            today.setdefault(name, before)
        elif isinstance(today.get(group), Mapping):
            today[group] = {name: before, **today[group]}
    return today


def _with_first_names(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration with today's names as the first version of dfa would have written it."""
    for key, gone in DROPPED.items():
        if not lookup(config, key)[1] and _is_of(config, key, gone):
            config = _with(config, key, gone.value)
    if RENAMED:
        config = _renamed(config, [(old, new) for new, old in reversed(RENAMED.items())])
    return config


def todays_name(name: str) -> str:
    """The name that a dotted key, or a `_target_`, of any age has today."""
    for old, new in RENAMED.items():
        if name == old or name.startswith(f"{old}."):
            name = new + name.removeprefix(old)
    return name


def no_longer(name: str) -> str | None:
    """A sentence on a dotted key or a `_target_` that is not in use any more; `None` for every other name."""
    today = todays_name(name)
    if gone := DROPPED.get(today):
        return (
            f"{name} is no option any more: this version of dfa always computes as with {shown(gone.value)}, "
            "so leave it out."
        )
    return None if today == name else f"{name} is called {today} now."


def ending_no_longer(word: str) -> str | None:
    """The same on the end of a dotted key: `spread` for `rule.spread`, `of.steps` for `device.readout.of.steps`."""
    for key in (*RENAMED, *DROPPED):
        group, _, end = key.rpartition(".")
        if group and (word == end or word.startswith(f"{end}.")):
            return no_longer(key + word.removeprefix(end))
    return None


def outdated(config: Mapping[str, Any]) -> Iterator[str]:
    """The keys and the `_target_`s of a configuration that are not in use any more."""
    for key, gone in DROPPED.items():
        if lookup(config, key)[1] and _is_of(config, key, gone):
            yield key
    there = [name for name in RENAMED if lookup(config, name)[1] and _is_ours(config, name)]
    if RENAMED:
        there += _targets(config)
    yield from (name for name in there if todays_name(name) != name)


def _is_of(config: Mapping[str, Any], key: str, gone: Dropped) -> bool:
    """Whether the node of a dotted key is of the class that had the dropped option."""
    return gone.of is None or lookup(config, f"{key.rpartition('.')[0]}._target_") == (gone.of, True)


def _is_ours(config: Mapping[str, Any], key: str) -> bool:
    """Whether a dotted key stands at the top level or in the node of a class of ours."""
    while key := key.rpartition(".")[0]:
        target, present = lookup(config, f"{key}._target_")
        if present:
            return _is_target(str(target))
    return True


def _is_target(name: str) -> bool:
    """Whether a name is that of a class of ours; every other one is a key."""
    return name.startswith("dfa_cli.")


def _renamed(config: Mapping[str, Any], names: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The configuration with other names, one change after the other; what it was made from is left as it was."""
    result, targets = dict(config), {}
    for before, after in names:
        if _is_target(before):
            targets = {one: after if name == before else name for one, name in targets.items()}
            targets.setdefault(before, after)
            continue
        value, present = lookup(result, before)
        if not present or lookup(result, after)[1]:
            continue  # where both names are there, the class itself says which one it does not know
        node = lookup(result, after.rpartition(".")[0])[0] if "." in after else result
        if isinstance(node, Mapping) and _is_ours(result, before):
            result = _moved(result, before, after, value)
    return _with_targets(result, targets) if targets else result


def _moved(config: Mapping[str, Any], before: str, after: str, value: Any) -> dict[str, Any]:
    """The configuration with another name for a dotted key; within its node the key keeps its place."""
    group, _, name = before.rpartition(".")
    there, _, other = after.rpartition(".")
    if group != there:
        return _with(_less(config, before), after, value)
    node = lookup(config, group)[0] if group else config
    renamed = {other if key == name else key: held for key, held in node.items()}
    return _with(config, group, renamed) if group else renamed


def _with_targets(node: dict[str, Any], targets: Mapping[str, str]) -> dict[str, Any]:
    """The node, and those inside it, with other classes; what stays as it is, is not copied."""
    changed: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, dict):
            if (other := _with_targets(value, targets)) is not value:
                changed[key] = other
        elif key == "_target_" and isinstance(value, str) and value in targets:
            changed[key] = targets[value]
    return {**node, **changed} if changed else node


def _targets(node: Mapping[str, Any]) -> Iterator[str]:
    """Every `_target_` in a node and in those inside it."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _targets(value)
        elif key == "_target_" and isinstance(value, str):
            yield value


def _with(config: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """The configuration with another value at a dotted key."""
    first, _, rest = key.partition(".")
    return {**config, first: _with(config[first], rest, value) if rest else value}


def _less(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The configuration without a dotted key."""
    first, _, rest = key.partition(".")
    if rest:
        return {**config, first: _less(config[first], rest)}
    return {name: value for name, value in config.items() if name != first}
