"""Parses and checks Hydra's overrides, and explains in a sentence what is wrong with one."""

from __future__ import annotations

import contextlib
import functools
import itertools
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from dfa_cli.config import bounds, identity, schema
from dfa_cli.config.own_files import OwnFiles, is_typed
from dfa_cli.config.paths import CHOSEN_BY_NAME, ONLY_PLANNED, conf_dir
from dfa_cli.errors import DfaError, nearest, one_of

QUOTES = "\"'"
# The groups to which users add options of their own.
OF_ONES_OWN = ("model", "rule", "device", "data", "optimizer", "experiment")
NOT_KEYS = ("_target_", "_partial_", *schema.FACTS)  # what a file says of its class, and nobody types


class Overrides(NamedTuple):
    """The overrides of a job, sorted by how they are applied.

    `every`: all of them, in the order given.
    `values`: those that only change a value, such as `seed=3`. They can be applied after the composition.
    `rest`: the words of the others, such as `model=gcn` or `hydra.verbose=true`, which need a composition.
    """

    every: list[Override]
    values: list[Override]
    rest: tuple[str, ...]


def parse_overrides(overrides: Sequence[str]) -> list[Override]:
    """Parse words in Hydra's grammar of overrides. Raises `DfaError` for a word that is not an override."""
    try:
        return [_parsed(word) for word in overrides]
    except HydraException as error:
        raise DfaError(hydra_message(error)) from error


@functools.lru_cache(maxsize=4096)
def _parsed(word: str) -> Override:
    """Parse a word, once for all jobs of a sweep that have it."""
    (override,) = OverridesParser.create().parse_overrides([word])
    return override


def split_overrides(overrides: Sequence[str], loader: ConfigLoader) -> Overrides:
    """Separate the overrides that only change a value from the others. Raises Hydra's own exceptions."""
    every = [_parsed(word) for word in overrides]
    values = [
        override
        for override in every
        if override.type == OverrideType.CHANGE
        and override.package is None
        and not override.key_or_group.startswith("hydra.")
        and not is_group(override.key_or_group, loader)
    ]
    lines = {override.input_line for override in values}
    return Overrides(every, values, tuple(word for word in overrides if word not in lines))


def is_group(key: str, loader: ConfigLoader) -> bool:
    return "/" in key or key in _groups(loader)


@functools.lru_cache(maxsize=1)
def _groups(loader: ConfigLoader) -> frozenset[str]:
    return frozenset(loader.get_group_options("", ObjectType.GROUP))


def expand_sweeps(overrides: Sequence[str]) -> list[list[str]]:
    """Return the overrides of each job of a sweep: every combination of the values, in the order of Hydra's sweeper."""
    axes: list[list[str]] = []
    for override in parse_overrides(overrides):
        if override.is_sweep_override() and override.is_discrete_sweep():
            key = override.get_key_element()
            axes.append([f"{key}={value}" for value in sweep_values(override)])
        elif not override.is_sweep_override():
            axes.append([override.input_line or ""])
        # An interval to search in is left to a sweeper such as Optuna, which picks the values one by one.
    return [list(combination) for combination in itertools.product(*axes)]


def sweep_values(override: Override) -> list[str]:
    """Return the values of a list or a `range` in an override. Raises `DfaError` when it has none."""
    try:
        values = list(override.sweep_string_iterator())
    except ValueError as error:  # a step of 0
        raise DfaError(f"{override.input_line}: {error}") from error
    except HydraException as error:  # a pattern such as glob(*), which only Hydra's loader can expand
        raise DfaError(
            f"{override.input_line} is a pattern; name the options one by one instead; dfa train --help lists them."
        ) from error
    if not values:
        raise DfaError(f"{override.input_line} has no value; give at least one.")
    return values


def require_discrete_sweeps(overrides: Sequence[str]) -> None:
    """Raise `DfaError` for an interval to search in, from which a sweep over every combination can take no values."""
    for override in parse_overrides(overrides):
        if override.is_sweep_override() and not override.is_discrete_sweep():
            raise DfaError(
                f"{override.input_line} is an interval, which only a search can use; add sweeper=optuna, "
                "or list values, such as 0.01,0.03,0.1."
            )


def require_no_sweep(overrides: Sequence[Override], prog: str) -> None:
    """Raise `DfaError` for several values, of which `prog` takes one."""
    advice = (
        "and dfa train trains one model; train one for each value with dfa sweep, or with dfa train -m."
        if prog == "dfa train"
        else f"and {prog} takes one; give one of them."
    )
    for override in overrides:
        if override.is_sweep_override():
            key, _, values = str(override.input_line).partition("=")
            if key.isidentifier() and not hasattr(schema.Config(), key) and not (conf_dir() / key).is_dir():
                raise DfaError(unknown_key_message(key, [str(one.input_line) for one in overrides]))
            listed = re.fullmatch(r"[\d, ]+", values) and [int(value) for value in re.findall(r"\d+", values)]
            fits = listed and key in bounds.BOUNDS and bounds.BOUNDS[key].holds(listed)
            brackets = f" A list is written {key}=[{values}]." if fits else ""
            raise DfaError(f"{override.input_line} has several values, {advice}{brackets}")


_PARAMS = re.compile(r"\+{0,2}(?:hydra\.)?sweeper\.par\w{0,2}ms?(?:\.([^=]+))?=(.*)", re.DOTALL)


def require_no_params(overrides: Sequence[str]) -> None:
    """Raise `DfaError` for values to sweep that are typed as in a file, below `hydra.sweeper.params`."""
    for word in overrides:
        if typed := _PARAMS.fullmatch(word):
            values = {typed[1]: typed[2]} if typed[1] else parse_overrides([word])[0].value()
            if not values:  # leaves out what an experiment sweeps over
                continue
            pairs = values.items() if isinstance(values, Mapping) else [("KEY", "VALUE,VALUE")]
            lists = {
                key: ",".join(map(str, one)) if isinstance(one, list) else str(one) for key, one in pairs
            }
            meant = " ".join(shlex.quote(f"{key}={one.strip(QUOTES)}") for key, one in lists.items())
            raise DfaError(f"{word} is how a file names what is swept; on the command line type {meant}.")


def require_no_deletion(overrides: Sequence[Override]) -> None:
    """Raise `DfaError` for an override such as `~epochs`, which removes a key that every run needs."""
    ours = [one.name for one in fields(schema.Config)]
    for override in overrides:
        if override.is_delete() and override.key_or_group in ours:
            raise DfaError(f"{override.input_line} removes a key that every run needs; leave it out.")


def require_tuned_file(overrides: Sequence[Override], loader: ConfigLoader, config_dir: str | None) -> None:
    """Raise `DfaError` for `tuned=NAME` where no file has this name.

    The file that is used by default may be missing.
    """
    for override in overrides:
        name = override.value()
        if override.key_or_group != "tuned" or not isinstance(name, str):
            continue
        in_config_dir = config_dir is not None and (Path(config_dir) / "tuned" / f"{name}.yaml").is_file()
        if not in_config_dir and name not in (known := loader.get_group_options("tuned", ObjectType.CONFIG)):
            raise DfaError(f"tuned={name}: {one_of(name, known, 'dfa train --help')}.")


def require_known_keys(config: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Raise `DfaError` for an added key (`+rul=bp`) that was once a key of ours, or looks like a misspelt one."""
    ours = [one.name for one in fields(schema.Config)]
    for key in config:
        if sentence := identity.no_longer(key):
            raise DfaError(sentence)
        if key == "parallel" and (added := config[key]) and "_target_" not in added:
            raise DfaError(unknown_key_message(f"{key}.{next(iter(added))}"))
        if key in inner_groups():
            raise DfaError(unknown_key_message(key, overrides))
        if key not in ours and (guesses := nearest(key, ours, most=1)):
            raise DfaError(
                f"There is no key {key} here (did you mean {guesses[0]}?); dfa train --help lists them."
            )


def hydra_message(
    error: Exception,
    overrides: Sequence[str] = (),
    config: DictConfig | None = None,
    config_dir: str | None = None,
) -> str:
    """Turn an exception of Hydra into a message for the user, who typed `overrides`.

    `config`: what was composed before a value of the overrides was refused. `config_dir`: the folder of own files, so
    that the message can name the file and the line.

    Hydra's own message names the key and what it could be. The message of the exception's cause is added where it
    says more.
    """
    if isinstance(error, OverrideParseException):
        return unreadable_override_message(error.override)
    words = str(error).partition("\nConfig search path:")[0]
    own = OwnFiles.of_words(overrides, config_dir)
    if sentence := own.explain(words):
        return sentence
    if no_key := re.match(r"Could not override '([^']+)'\.", words):
        return unknown_key_message(_inner_key(no_key[1], overrides, config), overrides, config)
    if no_option := re.match(r"In '[^']+': Could not find '(.+)'\s+Available options in '([^']+)':\n", words):
        group, options = no_option[2], words[no_option.end() :].split()
        option = no_option[1].removeprefix(f"{group}/")
        elsewhere = own.path_of(option)
        hint = f" {elsewhere} is there, but options of {group} lie in {group}/." if elsewhere else ""
        if config_dir is None and group in OF_ONES_OWN and not nearest(option, options):
            hint = " One of your own needs --config-dir FOLDER."
        return f"{group}={option}: {one_of(option, options, 'dfa train --help')}.{hint}"
    if (sentence := _refused_addition(words, overrides)) or (
        sentence := _refused_value(error, words, overrides, own)
    ):
        return sentence
    if no_key := re.match(r"Could not delete from config\. '([^']+)'", words):
        return identity.no_longer(no_key[1]) or words
    if no_config := re.match(r"Cannot find primary config '([^']+)'", words):
        folders = " and ".join([*([config_dir] if config_dir else []), "the configuration of dfa"])
        return f"--config-name {no_config[1]} names no file: {no_config[1]}.yaml is looked for in {folders}."
    if isinstance(error.__cause__, OmegaConfBaseException) and str(error.__cause__) not in words:
        words += f"\n{error.__cause__}"
    return words


def _refused_addition(words: str, overrides: Sequence[str]) -> str | None:
    """Explain why Hydra does not add what an override with a plus adds. `words`: Hydra's own."""
    if forced := re.match(r"force-add of config groups is not supported: '\+\+(.*)'", words):
        return f"++{forced[1]} forces a key, and this is a group; type {forced[1]}."
    there = re.match(
        r"Could not append to config\. An item is already at '(.+)'|Multiple values for (\S+)\. ", words
    )
    if there is None:
        return None
    key = there[1] or there[2]
    added = [word for word in overrides if word.startswith(f"+{key}=")]
    if not added:
        return None
    if there[2]:
        return f"{added[0]} would choose a second option of {key}; type {added[0][1:]}, which replaces the first."
    return f"{added[0]} adds a key, and {key} is there already; type {added[0][1:]}."


def _refused_value(error: Exception, words: str, overrides: Sequence[str], own: OwnFiles) -> str | None:
    """Explain why a typed value, or one of the user's own files, is refused. `words`: Hydra's own."""
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__ or error.__context__
    key = getattr(cause, "full_key", None)
    if not key:
        return None
    if missing := re.match(r"Interpolation key '([^']+)' not found", words):
        guesses = nearest(missing[1], {*bounds.BOUNDS, *(one.name for one in fields(schema.Config))}, most=1)
        hint = f" (did you mean {guesses[0]}?)" if guesses else ""
        place = None if is_typed(key, overrides) else own.place(key)
        sentence = f"{key} takes the value of ${{{missing[1]}}}, and there is no key {missing[1]}{hint}."
        return f"{place}: {sentence}" if place else sentence
    if key in bounds.BOUNDS and (typed := re.match(r"Error merging override [^=\n]+=(.*)", words)):
        return refused_value_message(key, typed[1])
    if (inside := re.match(r"In '([^']+)': \w+ raised while composing config:", words)) is None:
        return None
    file = own.named(inside[1])
    found = file.find(key) if file else None
    place = file.at(found[0] if found else None) if file else f"In '{inside[1]}'"
    if file and key == file.name.partition("/")[0]:
        return (
            f"{place}: its keys are put below {key}, where no run looks for them; its first line must be "
            "`# @package _global_`."
        )
    if isinstance(cause, ConfigKeyError):
        return f"{place}: {unknown_key_message(key)}"
    return f"{place}: {refused_value_message(key, found[1])}" if found and key in bounds.BOUNDS else None


def no_option_message(overrides: Sequence[str], loader: ConfigLoader) -> str | None:
    """Say what a group may be, for null or a number in place of an option's name. `None`: there is no such word."""
    word = next(
        (
            word
            for word, parsed in zip(overrides, map(_parsed, overrides), strict=True)
            if is_group(parsed.key_or_group, loader) and not parsed.is_sweep_override()
            if not isinstance(parsed.value(), str | list | dict)
        ),
        None,
    )
    if word is None:
        return None
    group, _, option = word.lstrip("+").partition("=")
    options = loader.get_group_options(group, ObjectType.CONFIG)
    if option != "null":
        return f"{word}: {one_of(option, options, 'dfa train --help')}."
    if "none" in options:
        return f"{word}: the option of {group} that sets nothing is called none; type {group}=none."
    if group in CHOSEN_BY_NAME:
        return f"{word} chooses nothing; leave it out."
    return f"{word}: {one_of(option, options)}."


def refused_value_message(key: str, value: str) -> str:
    """Say what a key may be, for a value of another type, as it was written: `epochs is 1e3.`"""
    with contextlib.suppress(ValueError, OverflowError):
        number = float(value)
        if bounds.BOUNDS[key].holds(whole := int(number)) and number == whole:
            return f"{key} is {value}. It must be {bounds.BOUNDS[key].words}; type {key}={whole}."
    words = bounds.BOUNDS[key].words + bounds.range_hint(key, value)
    return f"{key} is {value or bounds.shown(value)}. It must be {words}."


def unreadable_override_message(override: str) -> str:
    """Explain that a word is no override in Hydra's grammar, with the brackets that it lacks."""
    pairs = {"(": ")", "[": "]", "{": "}"}
    missing: list[str] = []
    for character in override:
        if character in pairs:
            missing.insert(0, pairs[character])
        elif missing and character == missing[0]:
            del missing[0]
    if missing and override.endswith(","):
        return (
            f"{override} lacks its closing {''.join(missing)}, since a blank ends a word; leave the blank out, or put "
            "the whole of KEY=VALUE in quotes."
        )
    if missing:
        closed = override.rstrip(", ") + "".join(missing)
        return f"{override} lacks its closing {''.join(missing)}; type {shlex.quote(closed)}."
    key, equals, value = override.partition("=")
    if equals and re.fullmatch(r"\w+(/\w+)+(\.\w+)+", key):
        typed = shlex.quote(f"{key.replace('/', '.')}={value}")
        return f"{override} cannot be read: a key has points, and only a group has slashes; type {typed}."
    if re.fullmatch(r"\w+(/\w+)*", override) and (conf_dir() / override).is_dir():
        return f"{override} is a group; type {override}=OPTION. dfa train --help lists the options."
    if not equals and (options := [word for word in _every_option() if word.endswith(f"={override}")]):
        return f"{override} is an option; type {' or '.join(options)}."
    return (
        f"{override} cannot be read. It must be key=value, without blanks around the =; a value with blanks or "
        "brackets needs quotes: \"note='a b'\"."
    )


def unknown_key_message(key: str, overrides: Sequence[str] = (), config: DictConfig | None = None) -> str:
    """Explain that no option has this key, which one of the `overrides` sets.

    `config`: the configuration, with Hydra's node, that lacks the key. Where it is known, the sentence says what the
    chosen options have instead.

    This replaces Hydra's message, whose advice to append the key would keep a misspelt one.
    """
    if sentence := identity.no_longer(key):
        return sentence
    groups = inner_groups()
    words = {word.partition("=")[0].lstrip("+"): word.partition("=")[2] for word in overrides}
    inner = groups.get(key, key.replace(".", "/"))
    if inner in groups.values():
        value, outer = words.get(key, "OPTION"), inner.partition("/")[0]
        typed = f"{inner}={value}"
        if key in groups:
            # The device that a run has by itself has no groups inside.
            if not {outer, "experiment"} & {*words}:
                typed = f"{outer}={_options_with_group(inner)[-1]} {typed}"
            command = "dfa sweep " if "," in value else ""
            return f"{key} is a group inside the group {outer}; type {command}{typed}."
        return _no_group_message(inner, words.get(outer), typed)
    if config is not None:
        choices = config.hydra.runtime.choices
        value, node = words.get(key, "VALUE"), key.rpartition(".")[0]
        inner = node.replace(".", "/")
        if inner in groups.values() and OmegaConf.select(config, node) is None and inner not in choices:
            return _no_group_message(inner, choices.get(inner.partition("/")[0]), f"{key}={value}")
        if deeper := _deeper_keys(key, config):
            where = f"With {inner}={choices[inner]} the key" if inner in choices else "The key"
            return f"{where} is {' or '.join(deeper)}; type {deeper[0]}={value}."
    for group, example in (("launcher", "joblib"), ("sweeper", "optuna")):
        if key.startswith(f"hydra.{group}."):
            word = key.removeprefix("hydra.")
            if group == "sweeper" and nearest(word.removeprefix("sweeper."), ["params"]):
                return f"There is no key {key} here (did you mean hydra.sweeper.params?)."
            return f"{word} is a key of a {group} that is not chosen; choose it as well, such as {group}={example}."
    if key in ONLY_PLANNED:
        return f"A run has no {key}; dfa plan takes one: dfa plan --{key} {words.get(key, 'NAME')}."
    if key.startswith("hydra."):
        return f"There is no key {key} here; dfa train --cfg hydra shows Hydra's keys."
    group = key.partition(".")[0]
    if options := _options_with(key):
        if key.startswith(("model.conv.", "model.last.")) and "model.conv._target_" in words:
            return f"The chosen model sets no {key}, so it is added with a plus: +{key}={words.get(key, 'VALUE')}."
        if len(options) == 1:
            advice = f"which is not chosen; type {options[0]}"
        else:
            advice = "none of which is chosen; choose one of them"
        return f"{key} is a key of {', '.join(options)}, {advice}, or leave {key} out."
    if key in bounds.BOUNDS and group != key:
        return f"The chosen option of {group} has no key {key}; dfa train --help lists its keys."
    place, _, name = key.rpartition(".")
    node = OmegaConf.select(config, place) if config is not None and place else None
    there = [str(one) for one in node if one not in NOT_KEYS] if isinstance(node, DictConfig) else []
    if beside := there or [
        one.removeprefix(f"{place}.") for one in bounds.BOUNDS if one.startswith(f"{place}.")
    ]:
        guesses = nearest(name, beside, most=1)
        hint = (
            f"did you mean {place}.{guesses[0]}?" if guesses else there and f"{place} has {', '.join(there)}"
        )
        return f"There is no key {key} here{f' ({hint})' if hint else ''}; dfa train --help lists them."
    ours = [one.name for one in fields(schema.Config)]
    known = groups.values() if "/" in key else {*bounds.BOUNDS, *ours, *groups, "tuned", "experiment"}
    guesses = [one for one in bounds.BOUNDS if one.endswith(f".{key}")] or nearest(key, known, most=1)
    hint = f" (did you mean {' or '.join(groups.get(one, one) for one in guesses)}?)" if guesses else ""
    return f"There is no {'group' if '/' in key else 'key'} {key} here{hint}; dfa train --help lists them."


def _inner_key(key: str, overrides: Sequence[str], config: DictConfig | None) -> str:
    """Return the key inside a typed dictionary that the configuration lacks; `key` itself where none was typed."""
    node = OmegaConf.select(config, key) if config is not None else None
    typed = [word for word in overrides if word.lstrip("+").startswith(f"{key}={{")]
    value = parse_overrides(typed[-1:])[0].value() if typed else None
    if not isinstance(value, Mapping):
        return key
    known = node if isinstance(node, DictConfig) else [one.rpartition(".")[2] for one in bounds.BOUNDS]
    return next((f"{key}.{name}" for name in value if name not in known), key)


def _no_group_message(inner: str, chosen: str | None, typed: str) -> str:
    """Explain that the chosen option of a group has no group `inner` inside, which `typed` needs."""
    outer, having = inner.partition("/")[0], _options_with_group(inner)
    option = f"The chosen option of {outer}" if chosen is None else f"{outer}={chosen}"
    return (
        f"{option} has no group {inner}, as {', '.join(having)} have; "
        f"choose one of them, such as {outer}={having[-1]}, or leave {typed} out."
    )


def _deeper_keys(key: str, config: DictConfig) -> list[str]:
    """Return the keys with the last name of `key` one level deeper: `device.readout.wrapped.grain`."""
    node, _, name = key.rpartition(".")
    inside = OmegaConf.select(config, node) if node else None
    parts = OmegaConf.to_container(inside) if isinstance(inside, DictConfig) else None
    if not isinstance(parts, dict):
        return []
    return [
        f"{node}.{part}.{name}" for part, value in parts.items() if isinstance(value, dict) and name in value
    ]


@functools.cache
def inner_groups() -> dict[str, str]:
    """Return the groups that stand inside another group, by their last name: `device/drift` for `drift`."""
    return {
        folder.name: f"{folder.parent.name}/{folder.name}"
        for folder in conf_dir().glob("*/*")
        if folder.is_dir()
    }


def _every_option() -> list[str]:
    """Return the options that a run can choose, such as `device/drift=medium`, less the tuned values."""
    files = [file.relative_to(conf_dir()) for file in sorted(conf_dir().glob("*/**/*.yaml"))]
    chosen = [file for file in files if file.parts[0] not in (*ONLY_PLANNED, "tuned")]
    return [f"{file.parent.as_posix()}={file.stem}" for file in chosen]


def _options_with_group(inner: str) -> list[str]:
    """Return the options of a group that have a group inside, such as `opu_sim` for `device/drift`."""
    outer, _, name = inner.partition("/")

    def has(option: str) -> bool:
        content = yaml.safe_load((conf_dir() / outer / f"{option}.yaml").read_text(encoding="utf-8")) or {}
        parts = content.get("defaults", [])
        inside = any(isinstance(part, dict) and name in part for part in parts)
        return inside or any(has(part) for part in parts if isinstance(part, str) and part != "_self_")

    return [file.stem for file in sorted((conf_dir() / outer).glob("*.yaml")) if has(file.stem)]


def _options_with(key: str) -> list[str]:
    """Return the options that have a key, such as `device/drift=medium` for `device.drift.tau`.

    A key of a group inside a group stands in the file of the inner group.
    """
    parts = key.split(".")
    if parts[0] not in (one.name for one in fields(schema.Config)):
        return []
    found = []
    for depth in range(1, len(parts)):
        group, rest = "/".join(parts[:depth]), ".".join(parts[depth:])
        for file in sorted((conf_dir() / group).glob("*.yaml")):
            content = yaml.safe_load(file.read_text(encoding="utf-8"))
            if bounds.lookup(content, rest)[1]:
                found.append(f"{group}={file.stem}")
    return found


def quote_override(value: str) -> str:
    """Quote a string so that Hydra's grammar of overrides reads it back unchanged, with its blanks and commas."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def user_overrides(overrides: Iterable[str]) -> list[str]:
    """Keep the overrides that describe what is run. Those that set the run id or say how Hydra runs it are left out."""
    return [word for word in overrides if not word.startswith("run_id=") and not is_hydra_override(word)]


def is_hydra_override(override: str) -> bool:
    """Whether an override configures Hydra. Such an override says how jobs are run, and not what they compute."""
    return override.startswith(("hydra.", "hydra/", "launcher=", "sweeper="))


def expand_aliases(arguments: Sequence[str]) -> list[str]:
    """Expand our short names of Hydra's keys: `launcher.n_jobs=4` becomes `hydra.launcher.n_jobs=4`."""
    return [re.sub(r"^(launcher|sweeper)\.", r"hydra.\1.", word) for word in arguments]
