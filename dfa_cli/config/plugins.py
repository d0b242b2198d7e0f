"""Finds the user's own classes, which a YAML file names by `_target_` and which are not part of this package.

`--config-dir FOLDER` adds groups of YAML files, and the Python modules in the same folder can then be imported. The
folder comes last on Python's path, so that a file in it never hides a module that other code imports.
"""

from __future__ import annotations

import difflib
import functools
import os
import pkgutil
import re
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from dfa_cli.config.paths import conf_dir


def add_plugin_folder(folder: str | None) -> None:
    """Add `folder` to the end of Python's path in this process. `None` changes nothing."""
    if folder is not None and (path := os.path.abspath(folder)) not in sys.path:
        sys.path.append(path)


def targets(node: Any) -> Iterator[str]:
    """Yield every `_target_` in a group and in the nodes inside it."""
    if isinstance(node, Mapping):
        if isinstance(node.get("_target_"), str):
            yield node["_target_"]
        for value in node.values():
            yield from targets(value)
    elif isinstance(node, list):
        for value in node:
            yield from targets(value)


# Classes of dfa and of torch.optim. A longer path is refused, since it could lead through a module of ours to any
# function that this module has imported.
_OF_PACKAGE = re.compile(r"(dfa_cli\.(data|models|rules|devices|devices\.opu)|torch\.optim)\.[A-Z]\w*")


def is_of_package(target: str) -> bool:
    """Tell whether a `_target_` is a class of dfa, an optimizer of torch, or one that an option of dfa names."""
    return _OF_PACKAGE.fullmatch(target) is not None or target in _named_by_options()


@functools.cache
def _named_by_options() -> frozenset[str]:
    lines = (line for file in conf_dir().rglob("*.yaml") for line in file.read_text("utf-8").splitlines())
    return frozenset(line.partition("_target_:")[2].strip() for line in lines if "_target_:" in line)


def target_not_found_message(target: str, module: str) -> str:
    """Say why a `_target_` cannot be imported and what to do. `module`: the part of it that was not found."""
    if module == target.partition(".")[0]:
        return (
            f"Python finds no module {module}{module_hint(module)} for {target}; put {module}.py into the folder that "
            "--config-dir names, install it, or name its folder in PYTHONPATH."
        )
    above, _, name = module.rpartition(".")
    guesses = difflib.get_close_matches(
        name, [one for one in dir(sys.modules.get(above)) if one[:1].isupper()], 1
    )
    hint = f" (did you mean {guesses[0]}?)" if guesses else ""
    return f"{target} cannot be imported: {above} has no {name}{hint}."


def module_hint(name: str) -> str:
    """Guess which module a name that Python does not find means, in words for a message."""
    known = {*sys.stdlib_module_names, *(module.name for module in pkgutil.iter_modules())}
    guesses = difflib.get_close_matches(name, sorted(known), 1, cutoff=0.8)
    return f" (did you mean {guesses[0]}?)" if guesses else ""


def missing_module(error: BaseException | None) -> str | None:
    """Return the name of the module that could not be imported, found in the chain of causes of an exception."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError):
            return error.name
        error = error.__cause__
    return None
