"""Finds out, before anything is imported, that a class of a configuration cannot be imported, and says why."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dfa_cli.config.bounds import RefusedValueError
from dfa_cli.config.own_code import OwnCode, OwnModule, spec_of
from dfa_cli.config.own_errors import syntax_message
from dfa_cli.config.own_files import place_of
from dfa_cli.config.plugins import module_hint, target_not_found_message, targets
from dfa_cli.errors import DfaError, nearest


def require_importable(config: Mapping[str, Any], choices: Mapping[str, str], code: OwnCode) -> None:
    """Raise `DfaError` for a class that is not there, and for own code with an import or a line that must fail.

    What only shows when the code runs, such as a name that a star import brings, is left to the run.

    `config`: plain nested dictionaries; `choices`: the option chosen of each group; `code`: what the run imports.
    """
    for group, node in config.items():
        for target in targets(node):
            top = target.partition(".")[0]
            if not _is_there(top):
                message = target_not_found_message(target, top)
                raise DfaError(f"{group}={choices.get(group)}: {message}")
    for module in code.modules.values():
        _require_sound(module)
    for group, node in config.items():
        for target in targets(node):
            module = target
            while module and not _is_there(module):
                module, _, name = module.rpartition(".")
            names = None if module == target else _names(module)
            if names is not None and name not in names:
                guesses = nearest(name, (one for one in names if one[:1].isupper()), most=1)
                hint = f" (did you mean {guesses[0]}?)" if guesses else ""
                message = f"{target} cannot be imported: {module} has no {name}{hint}."
                raise RefusedValueError(f"{group}._target_", message)


def _is_there(module: str) -> bool:
    return module in sys.modules or (bool(module) and spec_of(module) is not None)


def _require_sound(module: OwnModule) -> None:
    """Raise `DfaError` for a module that is no Python, or that imports one that is not there.

    An import within a function or an `if` or a `try` may never happen. A line that calls or sets something, such as
    `sys.path.append(FOLDER)`, may change where Python looks, so what follows it is left to the run.
    """
    if module.content is None or not module.path.endswith(".py"):
        return
    try:
        body = ast.parse(module.content, module.path).body
    except SyntaxError as error:
        raise DfaError(f"{syntax_message(error)}.") from error
    except ValueError:  # a null byte
        return
    for node in body:
        if isinstance(node, (ast.Assign, ast.AugAssign)) or (
            isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
        ):
            break
        for name in _imported(node):
            if not _is_there(name):
                raise DfaError(
                    f"{place_of(Path(module.path), node.lineno)}: Python finds no module "
                    f"{name}{module_hint(name)}; install it, or "
                    "put its file into the folder that --config-dir names."
                )


def _imported(node: ast.stmt) -> Iterator[str]:
    """Yield the packages of an import statement."""
    if isinstance(node, ast.Import):
        yield from (alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module.partition(".")[0]


def _names(module: str) -> frozenset[str] | None:
    """Return the names at the top of a module, from its source. `None`: they cannot be read off there."""
    spec = spec_of(module)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    try:
        tree = ast.parse(Path(spec.origin).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return None if names & {"*", "__getattr__"} or _makes_names(tree) else frozenset(names)


def _makes_names(tree: ast.Module) -> bool:
    """Tell whether a module may set names by `globals()`, `setattr` or `exec`."""
    called = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    return bool(called & {"globals", "vars", "setattr", "exec"})
