"""Names, types and bounds of the configuration, checked before anything heavy is imported.

Hydra refuses a key that no group has and a top-level value of the wrong type; `check` looks at the rest. `needs`
and `gives` are facts that a YAML of `conf/` states for us to read; they never reach the class it names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dfa_cli.errors import DfaError

FACTS = ("needs", "gives", "stand_in")

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


# Records outlive the names in them. These three tables say what has changed since the first records were made.
# `modernised` brings a configuration of any age to today's names, and `identity` goes back to the first ones, so that
# neither the identities of old records nor those of today's configurations ever change.

# Dotted keys that came after the first records were made, with what every run before had. At that value a key is
# left out of the identity, so that those records stay valid; `modernised` gives it to configurations without it.
LATER: dict[str, Any] = {"precision": "fp32"}

# Dotted keys and `_target_`s that have another name now: the old name and the new one. An entry is one change of a
# name, as it was made; a name that changes again gets another entry below, and none is ever edited. No two names get
# the same new one, or the way back would be lost. A key inside a group is renamed only in a node of a class of ours:
# the keys of other people's classes are theirs.
RENAMED: dict[str, str] = {}

# Dotted keys that are gone. These keys and classes, and the keys of `LATER`, have the names of today: whoever renames
# one of them renames it here, too.
DROPPED: dict[str, Dropped] = {}


@dataclass
class Config:
    """The top-level keys; the values stand in conf/config.yaml."""

    seed: int = 0
    epochs: int = 100
    batch_size: int | None = None
    patience: int | None = None
    alignment_every: int | None = None
    schedule: str = "constant"
    decay: str = "all"
    compute: str = "auto"
    precision: str = "fp32"
    threads: int | None = None
    outputs: str = "outputs"
    data_dir: str | None = None
    mirrors: list[str] = field(default_factory=list)
    progress: str = "auto"
    checkpoint_every: int | None = None
    reuse: bool = True
    fail_fast: bool = False
    run_id: str = ""
    data_fallback: str | None = None
    grids: list[dict[str, Any]] | None = None
    model: Any = None
    rule: Any = None
    device: Any = None
    data: Any = None
    optimizer: Any = None


@dataclass(frozen=True)
class Bound:
    """A test that a value has to pass, and the words for it."""

    holds: Callable[[Any], bool]
    words: str
    real: bool = False  # a number that need not be whole: 1 and 1.0 are the same value


LARGEST = 3.4e38  # of single precision, in which everything is computed


def _number(value: Any) -> bool:
    """A number that is finite in single precision."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


AT_LEAST_ONE = Bound(lambda v: _whole(v) and v >= 1, "a whole number of at least 1")
NOT_NEGATIVE = Bound(lambda v: _number(v) and v >= 0, "a number of at least 0", real=True)
POSITIVE = Bound(lambda v: _number(v) and v > 0, "a number greater than 0", real=True)
A_SEED = Bound(lambda v: _whole(v) and 0 <= v < 2**63, "a whole number of at least 0")
FRACTION = Bound(lambda v: _number(v) and 0 <= v < 1, "a number from 0 to below 1", real=True)
UP_TO_ONE = Bound(lambda v: _number(v) and 0 < v <= 1, "a number above 0 and up to 1", real=True)
AT_LEAST_FOUR = Bound(lambda v: _whole(v) and v >= 4, "a whole number of at least 4")
YES_OR_NO = Bound(lambda v: isinstance(v, bool), "true or false")
WIDTHS = Bound(
    lambda v: isinstance(v, list) and len(v) > 0 and all(_whole(w) and w >= 1 for w in v),
    "a list of one or more whole numbers of at least 1, such as [64] or [256,256]",
)


def choice(*names: str) -> Bound:
    return Bound(lambda v: v in names, "one of " + ", ".join(names))


def whole(least: int, most: int) -> Bound:
    return Bound(lambda v: _whole(v) and least <= v <= most, f"a whole number from {least} to {most}")


def optional(bound: Bound) -> Bound:
    return Bound(lambda v: v is None or bound.holds(v), bound.words + ", or null", bound.real)


BOUNDS: dict[str, Bound] = {
    "seed": A_SEED,
    "epochs": AT_LEAST_ONE,
    "batch_size": optional(AT_LEAST_ONE),
    "patience": optional(AT_LEAST_ONE),
    "alignment_every": optional(AT_LEAST_ONE),
    "schedule": choice("constant", "linear", "cosine"),
    "decay": choice("all", "hidden"),
    "compute": choice("auto", "cpu", "cuda", "mps"),
    "precision": choice("fp32", "bf16"),
    "threads": optional(whole(1, 1024)),
    "progress": choice("auto", "bar", "lines", "none"),
    "checkpoint_every": optional(AT_LEAST_ONE),
    "model.hidden": WIDTHS,
    "model.activation": choice("tanh", "relu"),
    "model.dropout": FRACTION,
    "model.input_dropout": FRACTION,
    "rule.scale": POSITIVE,
    "rule.feedback_seed": A_SEED,
    "rule.share": YES_OR_NO,
    "rule.spread": YES_OR_NO,
    "device.matrix_seed": A_SEED,
    "device.noise_seed": A_SEED,
    "device.where": choice("auto", "cpu", "cuda"),
    "device.distribution": choice("gaussian", "uniform"),
    "device.calibration": UP_TO_ONE,
    "device.macropixel": AT_LEAST_ONE,
    "device.frame_seconds": POSITIVE,
    "device.power_watts": NOT_NEGATIVE,
    "device.saturation_warning": NOT_NEGATIVE,
    "device.perfect": YES_OR_NO,
    "device.limits.mirrors": AT_LEAST_ONE,
    "device.limits.pixels": AT_LEAST_ONE,
    "device.limits.lift": YES_OR_NO,
    "device.encoding.threshold": NOT_NEGATIVE,
    "device.encoding.relative": YES_OR_NO,
    "device.encoding.bits": whole(1, 16),
    "device.medium.most": AT_LEAST_ONE,
    "device.medium.dense": AT_LEAST_ONE,
    "device.medium.procedural": AT_LEAST_ONE,
    "device.camera.bits": optional(whole(1, 24)),
    "device.camera.full_well": optional(POSITIVE),
    "device.camera.photons": optional(POSITIVE),
    "device.camera.read_noise": NOT_NEGATIVE,
    "device.camera.shot_noise": YES_OR_NO,
    "device.camera.exposure": Bound(
        lambda v: v == "auto" or (_number(v) and v > 0), "auto, or a number greater than 0"
    ),
    "device.readout.steps": AT_LEAST_FOUR,
    **{
        f"device.readout.{of}{key}": bound
        for of in ("", "of.")
        for key, bound in {
            "pixels_per_mode": AT_LEAST_FOUR,
            "reference": POSITIVE,
            "visibility": UP_TO_ONE,
            "headroom": POSITIVE,
        }.items()
    },
    "optimizer.lr": POSITIVE,
    "optimizer.weight_decay": NOT_NEGATIVE,
    "optimizer.momentum": FRACTION,
    "optimizer.fused": optional(YES_OR_NO),
    "data.neighbours": AT_LEAST_ONE,
    "data.labels_per_class": AT_LEAST_ONE,
}


def check(config: Mapping[str, Any], choices: Mapping[str, str]) -> None:
    """Raises `DfaError` for the first value out of bounds, and for a model and a data set that do not fit.

    `config`: plain nested dictionaries, resolved; `choices`: the option chosen of each group. A name that is no longer
    in use is out of bounds, too: `modernised` is for records, and what is composed today has today's names.
    """
    for name in outdated(config):
        raise DfaError(no_longer(name))
    for key, bound in BOUNDS.items():
        value, present = lookup(config, key)
        if present and not bound.holds(value):
            raise DfaError(f"{key}={_shown(value)} does not fit: expected {bound.words}.")
    threshold, present = lookup(config, "device.encoding.threshold")
    if present and threshold >= 1 and lookup(config, "device.encoding.relative")[0] is not False:
        raise DfaError(
            f"device.encoding.threshold={_shown(threshold)} does not fit: expected a number from 0 to below 1, "
            "since it is relative to each row's largest error; device.encoding.relative=false makes it absolute."
        )
    needs, gives = config["model"].get("needs"), config["data"].get("gives")
    if needs == "graph" and gives != "graph":
        raise DfaError(
            f"model={choices['model']} works on graphs and data={choices['data']} has no edges; "
            "use a graph (data=cora, citeseer, pubmed, digits_graph) or model=fc."
        )


def lookup(config: Mapping[str, Any], key: str) -> tuple[Any, bool]:
    """The value at a dotted key, and whether there is such a key."""
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return None, False
        node = node[part]
    return node, True


def _shown(value: Any) -> str:
    return json.dumps(value) if isinstance(value, (list, dict, bool)) or value is None else str(value)


def without_facts(node: Mapping[str, Any]) -> dict[str, Any]:
    """A group's keys as its class takes them."""
    return {key: value for key, value in node.items() if key not in FACTS}


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
    for key, bound in BOUNDS.items():
        if bound.real and _whole(value := lookup(kept, key)[0]):
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
            f"{name} is no option any more: this version of dfa always computes as with {_shown(gone.value)}, "
            "so leave it out."
        )
    return None if today == name else f"{name} is called {today} now."


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
            result = _with(_less(result, before), after, value)
    return _with_targets(result, targets) if targets else result


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


def projects(config: Mapping[str, Any]) -> bool:
    """Whether the rule asks the projection device for anything; without it no key of the device applies."""
    return config["rule"].get("needs") != "nothing"


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


def register() -> None:
    """Make the schema known to Hydra under the name that conf/config.yaml gives it."""
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="schema", node=Config)
