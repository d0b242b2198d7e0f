"""Finds out, before anything is imported, that a class of a configuration cannot be imported, and says why."""

from __future__ import annotations

import ast
import re
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

    Only what is certain is refused. What shows when the code runs, such as a name that `globals()` sets, is left to the
    run.

    `config`: plain nested dictionaries; `choices`: the option chosen of each group; `code`: what the run imports.
    """
    for group, node in config.items():
        for target in targets(node):
            if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", target):
                message = (
                    f"{target} is no name of a class: type MODULE.CLASS, the file's name without .py first."
                )
                raise RefusedValueError(f"{group}._target_", message)
            top = target.partition(".")[0]
            if not _is_there(top):
                message = target_not_found_message(target, top)
                raise DfaError(f"{group}={choices.get(group)}: {message}")
    for group, node in config.items():
        for target in targets(node):
            module = target
            while module and not _is_there(module):
                module, _, name = module.rpartition(".")
            if module not in code.modules or module == target:
                continue
            outer = [module[: dot.start()] for dot in re.finditer(r"\.", module)]
            seen: set[str] = set()
            if not all(_only_defines(one, code, seen) for one in (*outer, module)):
                continue
            if name not in (names := _names(code.modules[module])):
                guesses = nearest(name, (one for one in names if one[:1].isupper()), most=1)
                hint = f" (did you mean {guesses[0]}?)" if guesses else ""
                message = f"{target} cannot be imported: {module} has no {name}{hint}."
                raise RefusedValueError(f"{group}._target_", message)


def _is_there(module: str) -> bool:
    return module in sys.modules or (bool(module) and spec_of(module) is not None)


def _only_defines(name: str, code: OwnCode, seen: set[str]) -> bool:
    """Follow the imports with which a module begins, and tell whether it does nothing but import and define.

    They are followed until the first line that does anything else: it may change where Python looks, as
    `sys.path.append(FOLDER)` does, and it may set any name.
    Raises `DfaError` for a module that is no Python, or that imports one that is not there.
    """
    if name in seen or (module := code.modules.get(name)) is None:
        return True
    seen.add(name)
    if module.content is None or not module.path.endswith(".py"):
        return False
    try:
        body = ast.parse(module.content, module.path).body
    except SyntaxError as error:
        raise DfaError(f"{syntax_message(error)}.") from error
    except ValueError:  # a null byte
        return False
    for node in body:
        for imported in _imported(node):
            if not _is_there(imported):
                raise DfaError(
                    f"{place_of(Path(module.path), node.lineno)}: Python finds no module "
                    f"{imported}{module_hint(imported)}; install it, or "
                    "put its file into the folder that --config-dir names."
                )
            if not _only_defines(imported, code, seen):
                return False
        if not _defines(node, code):
            return False
    return True


def _defines(node: ast.stmt, code: OwnCode) -> bool:
    """Tell whether a line binds the names that it shows, and does nothing else."""
    if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return not node.decorator_list and node.name != "__getattr__"
    if isinstance(node, ast.Import):
        return not any("." in alias.name and alias.name in code.modules for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        inside = node.level or ("." in (node.module or "") and node.module in code.modules)
        return not inside and node.names[0].name != "*"
    if isinstance(node, ast.Assign):
        calls = any(isinstance(part, ast.Call) for part in ast.walk(node.value))
        return not calls and all(isinstance(target, ast.Name) for target in node.targets)
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _imported(node: ast.stmt) -> Iterator[str]:
    """Yield the packages of an import statement."""
    if isinstance(node, ast.Import):
        yield from (alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module.partition(".")[0]


def _names(module: OwnModule) -> set[str]:
    """Return the names that the imports and the definitions of a module make."""
    names: set[str] = set()
    for node in ast.parse(module.content or b"").body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names
