"""The words of a command as Hydra's overrides: told apart, spread out, and what is wrong with them in a sentence."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from dfa_cli.config import bounds, identity, schema
from dfa_cli.errors import DfaError, nearest


class Overrides(NamedTuple):
    """`every` override, in the order given; `values`: those that change a value and nothing else, such as `seed=3`;
    `rest`: the words of the others, such as `model=gcn` or `hydra.verbose=true`."""

    every: list[Override]
    values: list[Override]
    rest: tuple[str, ...]


def parsed(overrides: Sequence[str]) -> list[Override]:
    """Raises `DfaError` for words that are no overrides."""
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise DfaError(hydra_message(error)) from error


def split_overrides(overrides: Sequence[str], loader: ConfigLoader) -> Overrides:
    """What Hydra refuses comes out in Hydra's words."""
    every = OverridesParser.create().parse_overrides(list(overrides))
    values = [
        one
        for one in every
        if one.type == OverrideType.CHANGE
        and one.package is None
        and not one.key_or_group.startswith("hydra.")
        and not is_group(one.key_or_group, loader)
    ]
    lines = {one.input_line for one in values}
    return Overrides(every, values, tuple(word for word in overrides if word not in lines))


def is_group(key: str, loader: ConfigLoader) -> bool:
    return "/" in key or key in _groups(loader)


@functools.lru_cache(maxsize=1)
def _groups(loader: ConfigLoader) -> frozenset[str]:
    return frozenset(loader.get_group_options("", ObjectType.GROUP))


def expand(overrides: Sequence[str]) -> list[list[str]]:
    """The product of all sweeps in `overrides`, in the order in which Hydra's basic sweeper takes them."""
    axes: list[list[str]] = []
    for override in parsed(overrides):
        if override.is_sweep_override() and override.is_discrete_sweep():
            key = override.get_key_element()
            axes.append([f"{key}={value}" for value in values_of(override)])
        elif not override.is_sweep_override():
            axes.append([override.input_line or ""])
        # a range to search in belongs to a sweeper such as Optuna, which picks the values one by one
    return [list(point) for point in itertools.product(*axes)]


def values_of(override: Override) -> list[str]:
    """The values that a list or a `range` in an override stands for. Raises `DfaError` when there are none."""
    try:
        values = list(override.sweep_string_iterator())
    except ValueError as error:  # a step of 0
        raise DfaError(f"{override.input_line}: {error}") from error
    except HydraException as error:  # a pattern, which takes Hydra's loader
        raise DfaError(
            f"{override.input_line}: name the options one by one; dfa train --help lists them."
        ) from error
    if not values:
        raise DfaError(f"{override.input_line} stands for no value at all.")
    return values


def require_values(overrides: Sequence[str]) -> None:
    """Raises `DfaError` for a range to search in, of which a sweeper that takes every combination makes nothing."""
    for override in parsed(overrides):
        if override.is_sweep_override() and not override.is_discrete_sweep():
            raise DfaError(
                f"{override.input_line} is a range to search in, and takes a sweeper that searches: add "
                "sweeper=optuna, or give values, such as 0.01,0.03,0.1."
            )


def require_one_value(overrides: Sequence[Override]) -> None:
    for override in overrides:
        if override.is_sweep_override():
            raise DfaError(
                f"{override.input_line} stands for several values, and this is one run: dfa sweep runs them all, "
                "and so does dfa train -m."
            )


def require_tuned(overrides: Sequence[Override], loader: ConfigLoader, config_dir: str | None) -> None:
    """Raises `DfaError` for a file of conf/tuned that is named and not there: one that nobody named may be missing."""
    for override in overrides:
        name = override.value()
        if override.key_or_group != "tuned" or not isinstance(name, str):
            continue
        own = config_dir is not None and (Path(config_dir) / "tuned" / f"{name}.yaml").is_file()
        if not own and name not in (known := loader.get_group_options("tuned", ObjectType.CONFIG)):
            guesses = nearest(name, known)
            hint = f"; the nearest: {', '.join(guesses)}" if guesses else ""
            raise DfaError(f"tuned={name}: there is no such file in conf/tuned{hint}.")


def require_known(config: Mapping[str, Any]) -> None:
    """Raises `DfaError` for a key of one's own (`+rul=bp`) that was one of ours, or looks like a misspelt one."""
    ours = [one.name for one in fields(schema.Config)]
    for key in config:
        if sentence := identity.no_longer(key):
            raise DfaError(sentence)
        if key not in ours and (guesses := nearest(key, ours, most=1)):
            raise DfaError(
                f"There is no key {key} here (did you mean {guesses[0]}?); dfa train --help lists them."
            )


def hydra_message(error: Exception) -> str:
    """Hydra's own message, which names the key and what it could be, and its cause where that says more."""
    words = str(error).partition("\nConfig search path:")[0]
    if no_key := re.match(r"Could not override '([^']+)'\.", words):
        return unknown_key_message(no_key[1])
    if no_key := re.match(r"Could not delete from config\. '([^']+)'", words):
        return identity.no_longer(no_key[1]) or words
    if no_key := re.match(r"In '([^']+)': .*\nKey '([^']+)' not in 'Config'", words):
        sentence = identity.no_longer(no_key[2])
        return f"In '{no_key[1]}': {sentence}" if sentence else words
    if isinstance(error.__cause__, OmegaConfBaseException) and str(error.__cause__) not in words:
        words += f"\n{error.__cause__}"
    return words


def unknown_key_message(key: str) -> str:
    """The answer to a key that no option has. Hydra advises to append it, which a misspelt one would survive."""
    if sentence := identity.no_longer(key):
        return sentence
    for group, one in (("launcher", "joblib"), ("sweeper", "optuna")):
        if key.startswith(f"hydra.{group}."):
            word = key.removeprefix("hydra.")
            return (
                f"{word} belongs to a {group} that is not chosen here: name it, too, such as {group}={one}."
            )
    known = {*bounds.BOUNDS, *(one.name for one in fields(schema.Config)), "tuned", "experiment"}
    guesses = nearest(key, known, most=1)
    hint = f" (did you mean {guesses[0]}?)" if guesses else ""
    return f"There is no key {key} here{hint}; dfa train --help lists them."


def quote_override(value: str) -> str:
    """A string as Hydra's override grammar reads it back unchanged, blanks and commas included."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def user_overrides(overrides: Iterable[str]) -> list[str]:
    """The overrides that say what is run: neither a name that nobody typed nor how Hydra is to launch it."""
    return [word for word in overrides if not word.startswith("run_id=") and not is_hydra_override(word)]


def is_hydra_override(override: str) -> bool:
    """Whether an override says how jobs are run and not what they are."""
    return override.startswith(("hydra.", "hydra/", "launcher=", "sweeper="))


def expand_aliases(arguments: Sequence[str]) -> list[str]:
    """`launcher.n_jobs=4` for `hydra.launcher.n_jobs=4`, where Hydra has it."""
    return [re.sub(r"^(launcher|sweeper)\.", r"hydra.\1.", word) for word in arguments]
