"""Code of the user's own: classes that a YAML file names and that are no part of this package.

`--config-dir FOLDER` adds groups of YAML files; the Python modules beside them can then be imported too. The folder
stands last on the path, so that a file in it never takes the place of a module that something else imports.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from dfa_cli.errors import DfaError


def add_plugin_folder(folder: str | None) -> None:
    """Let Python find the modules in `folder` in this process; `None` changes nothing."""
    if folder is not None and (path := os.path.abspath(folder)) not in sys.path:
        sys.path.append(path)


def require_modules(config: Mapping[str, Any], choices: Mapping[str, str]) -> None:
    """Raises `DfaError` when a `_target_` begins with a module that is not there; imports none.

    `config`: plain nested dictionaries; `choices`: the option chosen of each group.
    """
    for group, node in config.items():
        for target in targets(node):
            module = target.partition(".")[0]
            if module not in sys.modules and not (module and importlib.util.find_spec(module)):
                raise DfaError(f"{group}={choices.get(group)}: {target_not_found_message(target, module)}")


def targets(node: Any) -> Iterator[str]:
    """Every `_target_` in a group's keys, those of its parts included."""
    if isinstance(node, Mapping):
        if isinstance(node.get("_target_"), str):
            yield node["_target_"]
        for value in node.values():
            yield from targets(value)


def target_not_found_message(target: str, module: str) -> str:
    """What is wrong with a `_target_` that cannot be imported, and what to do."""
    if module == target.partition(".")[0]:
        return (
            f"Python finds no module {module} for {target}; put {module}.py into the folder that --config-dir "
            "names, install it, or name its folder in PYTHONPATH."
        )
    return f"{target} is not there; {module.rpartition('.')[0]} has no {module.rpartition('.')[2]}."


def missing(error: BaseException | None) -> str | None:
    """The module that an import failed for want of, from the chain of causes that Hydra makes."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError):
            return error.name
        error = error.__cause__
    return None
