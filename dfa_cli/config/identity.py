"""Computes the identity of a configuration, which is equal for configurations with equal results.

A sweep uses the identity to find runs that are done already. A comparison uses it to average only what belongs
together.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dfa_cli.config.bounds import BOUNDS, is_whole, lookup, shown
from dfa_cli.config.schema import projects, without_facts

# Keys that cannot change a result beyond rounding. They change only where it is written, how fast it is computed, or
# how it is shown. `threads` changes the order of additions, and so the last bits.
OUTSIDE_IDENTITY = (
    "outputs",
    "run_id",
    "weights",
    "graph",
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

    `of`: the `_target_` of the node that held the option, or `None` for a key at the top level. The same key in a node
    of another class is another option.
    `value`: this version behaves like earlier versions with the option at this value. It is written as JSON spelt it in
    the identity: as `1.0`, not `1`, if the key had a `Bound` with `real=True`.
    """

    of: str | None
    value: Any


# Dotted keys that were added after the first records, each with the value that describes every run made before. At that
# value the key is left out of the identity, so the identities of old records stay the same. `modernised` adds the key
# with this value to a configuration that lacks it.
LATER: dict[str, Any] = {
    "precision": "fp32",
    "activations": "keep",
    "graph": "off",
    "parallel": {},
    "device.remove_sum": False,
    "data.split_seed": None,
    "device.drift": {},
    "device.readout.band_limited": False,
    "device.readout.demodulation": "local",
    "device.readout.wrapped.band_limited": False,
    "device.readout.wrapped.demodulation": "local",
    "device.frame_time": {
        "_target_": "dfa_cli.devices.opu.FrameTime",
        "shortest": 500.0e-6,
        "pause": 50.0e-6,
        "row": 2.7e-6,
        "row_pixels": 2040,
    },
    "device.laser": {
        "_target_": "dfa_cli.devices.opu.Laser",
        "watts": 1.0e-3,
        "wavelength": 532.0e-9,
        "exposure_seconds": 400.0e-6,
        "efficiency": 2.0e-3,
    },
}
# Some keys of `LATER` belong to one class, and other options of the same group do not have them: the `_target_` of
# that class.
LATER_OF: dict[str, str] = {
    "device.remove_sum": "dfa_cli.devices.opu.OPU",
    "data.split_seed": "dfa_cli.data.Planetoid",
    "device.drift": "dfa_cli.devices.opu.OPU",
    "device.frame_time": "dfa_cli.devices.opu.OPU",
    "device.laser": "dfa_cli.devices.opu.OPU",
    "device.readout.band_limited": "dfa_cli.devices.opu.OffAxis",
    "device.readout.demodulation": "dfa_cli.devices.opu.OffAxis",
    "device.readout.wrapped.band_limited": "dfa_cli.devices.opu.OffAxis",
    "device.readout.wrapped.demodulation": "dfa_cli.devices.opu.OffAxis",
}

# Dotted keys and `_target_`s that have another name now: old name -> new name. Each entry records one change. A name
# that changes again gets another entry below, and an existing entry is never edited. No two entries have the same new
# name, since the identity is computed from the old name, which must follow from the new one. A key inside a group is
# renamed only in a node of one of our classes, since we do not decide the keys of other people's classes.
RENAMED: dict[str, str] = {
    "rule.share": "rule.share_columns",
    "rule.spread": "rule.spread_over_edges",
    "decay": "weight_decay_on",
    "device.readout.of": "device.readout.wrapped",
    "device.readout.pixels_per_mode": "device.readout.grain",
    "device.readout.wrapped.pixels_per_mode": "device.readout.wrapped.grain",
}

# Dotted keys that were removed. This table and `LATER` use today's names for groups, parent keys and classes. If you
# rename one of these, rename it here, too.
DROPPED: dict[str, Dropped] = {
    "device.saturation_warning": Dropped("dfa_cli.devices.opu.OPU", 0.01),
    "device.medium.dense": Dropped("dfa_cli.devices.opu.Auto", 33554432),
    "device.medium.procedural": Dropped("dfa_cli.devices.opu.Auto", 68719476736),
    "device.medium.most": Dropped("dfa_cli.devices.opu.Dense", 268435456),
}


def identity(config: Mapping[str, Any], code: Mapping[str, str | None] | None = None) -> str:
    """Compute 16 hexadecimal digits that are equal for configurations with equal results.

    They are the first digits of the SHA-256 of the configuration as JSON with sorted keys. `code`, the checksums of the
    user's own files that the run imports, is included. What cannot change a result is left out: the keys of
    `OUTSIDE_IDENTITY`, the projection device of a rule that projects nothing, and each key of `LATER` at its value in
    that table. `lr: 1` counts as `lr: 1.0`.

    A configuration keeps its identity for ever. To that end each key and class is spelt as in its first version, and
    dropped options are included at the values to which this version is equivalent.
    """
    kept = {key: value for key, value in modernised(config).items() if key not in OUTSIDE_IDENTITY}
    for key, before in LATER.items():
        if lookup(kept, key) == (before, True):
            kept = _without(kept, key)
    real_keys = [key for key, bound in BOUNDS.items() if bound.real]
    real_keys += [key for key, gone in DROPPED.items() if isinstance(gone.value, float)]
    for key in real_keys:
        if is_whole(value := lookup(kept, key)[0]):
            kept = _with_value(kept, key, float(value))
    if not projects(config):
        kept.pop("device")
    for group in ("model", "rule", "device", "data", "optimizer", "parallel"):
        if group in kept:
            kept[group] = without_facts(kept[group])
    content = _with_first_names(kept) | ({"code": dict(code)} if code else {})
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def modernised(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration of any age as this version would have composed it.

    - Renamed keys and classes get their new names.
    - A dropped key is removed if it has the value to which this version is equivalent. At another value it stays, since
      this version cannot make an equal run.
    - A missing key of `LATER` is added if the configuration has its group.
    """
    today = _rename(config, RENAMED.items()) if RENAMED else dict(config)
    for key, gone in DROPPED.items():
        if lookup(today, key) == (gone.value, True) and _had_dropped_option(today, key, gone):
            today = _without(today, key)
    for key, before in LATER.items():
        group, _, name = key.rpartition(".")
        node = lookup(today, group)[0] if group else None
        if not group:
            today.setdefault(name, before)
        elif isinstance(node, Mapping) and LATER_OF.get(key) in (None, node.get("_target_")):
            today = _with_value(today, group, {name: before, **node})
    return today


def _with_first_names(config: dict[str, Any]) -> dict[str, Any]:
    """Turn the names of today back into those of the first version of dfa, and put dropped options back."""
    for key, gone in DROPPED.items():
        if not lookup(config, key)[1] and _had_dropped_option(config, key, gone):
            config = _with_value(config, key, gone.value)
    if RENAMED:
        config = _rename(config, [(old, new) for new, old in reversed(RENAMED.items())])
    return config


def todays_name(name: str) -> str:
    """Return today's name of a dotted key or a `_target_` that may have an old name."""
    for old, new in RENAMED.items():
        if name == old or name.startswith(f"{old}."):
            name = new + name.removeprefix(old)
    return name


def no_longer(name: str) -> str | None:
    """Say in a sentence why a dotted key or a `_target_` is out of use. Returns `None` for a name that is in use."""
    today = todays_name(name)
    if gone := DROPPED.get(today):
        return (
            f"{name} is no longer an option: this version of dfa always computes as if it were {shown(gone.value)}, "
            "so leave it out."
        )
    return None if today == name else f"{name} is called {today} now."


def ending_no_longer(word: str) -> str | None:
    """Return the sentence of `no_longer` for the end of a dotted key, such as `spread` for `rule.spread`."""
    for key in (*RENAMED, *DROPPED):
        group, _, end = key.rpartition(".")
        if group and (word == end or word.startswith(f"{end}.")):
            return no_longer(key + word.removeprefix(end))
    return None


def outdated_names(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys and the `_target_`s of a configuration that are out of use."""
    for key, gone in DROPPED.items():
        if lookup(config, key)[1] and _had_dropped_option(config, key, gone):
            yield key
    names = [name for name in RENAMED if lookup(config, name)[1] and _is_key_of_ours(config, name)]
    if RENAMED:
        names += _targets(config)
    yield from (name for name in names if todays_name(name) != name)


def _had_dropped_option(config: Mapping[str, Any], key: str, gone: Dropped) -> bool:
    """Whether the node that holds a dotted key is of the class that had the dropped option."""
    return gone.of is None or lookup(config, f"{key.rpartition('.')[0]}._target_") == (gone.of, True)


def _is_key_of_ours(config: Mapping[str, Any], key: str) -> bool:
    """Whether a dotted key stands at the top level or in the node of one of our classes."""
    while key := key.rpartition(".")[0]:
        target, present = lookup(config, f"{key}._target_")
        if present:
            return _is_class_of_ours(str(target))
    return True


def _is_class_of_ours(name: str) -> bool:
    """Whether a name is the name of one of our classes. Any other name in `RENAMED` is a dotted key."""
    return name.startswith("dfa_cli.")


def _rename(config: Mapping[str, Any], names: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return a copy of the configuration in which names are replaced, one pair (before, after) at a time."""
    # `targets` leads from the old name of a class to its latest one. It is applied last.
    result, targets = dict(config), {}
    for before, after in names:
        if _is_class_of_ours(before):
            targets = {old: after if latest == before else latest for old, latest in targets.items()}
            targets.setdefault(before, after)
            continue
        value, present = lookup(result, before)
        if not present or lookup(result, after)[1]:
            continue  # if the node has both names, its class refuses the old one with a sentence
        node = lookup(result, after.rpartition(".")[0])[0] if "." in after else result
        if isinstance(node, Mapping) and _is_key_of_ours(result, before):
            result = _moved(result, before, after, value)
    return _with_targets(result, targets) if targets else result


def _moved(config: Mapping[str, Any], before: str, after: str, value: Any) -> dict[str, Any]:
    """Return the configuration with another name for a dotted key. Within its node the key keeps its place."""
    group, _, name = before.rpartition(".")
    new_group, _, new_name = after.rpartition(".")
    if group != new_group:
        return _with_value(_without(config, before), after, value)
    node = lookup(config, group)[0] if group else config
    renamed = {new_name if key == name else key: held for key, held in node.items()}
    return _with_value(config, group, renamed) if group else renamed


def _with_targets(node: dict[str, Any], targets: Mapping[str, str]) -> dict[str, Any]:
    """Return the node with other `_target_`s, also in the nodes inside it. Nodes without a change are not copied."""
    changed: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, dict):
            if (other := _with_targets(value, targets)) is not value:
                changed[key] = other
        elif key == "_target_" and isinstance(value, str) and value in targets:
            changed[key] = targets[value]
    return {**node, **changed} if changed else node


def _targets(node: Mapping[str, Any]) -> Iterator[str]:
    """Yield every `_target_` in a node and in the nodes inside it."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _targets(value)
        elif key == "_target_" and isinstance(value, str):
            yield value


def _with_value(config: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """Return a copy of the configuration with another value at a dotted key."""
    first, _, rest = key.partition(".")
    return {**config, first: _with_value(config[first], rest, value) if rest else value}


def _without(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return a copy of the configuration without a dotted key."""
    first, _, rest = key.partition(".")
    if rest:
        return {**config, first: _without(config[first], rest)}
    return {name: value for name, value in config.items() if name != first}
