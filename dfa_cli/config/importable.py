"""Finds out, before anything is imported, that a class of a configuration cannot be imported, and says why."""

from __future__ import annotations

import ast
import pkgutil
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from dfa_cli.config.bounds import RefusedValueError
from dfa_cli.config.own_code import NO_CODE, OwnCode, OwnModule, spec_of
from dfa_cli.config.own_errors import hidden_message, syntax_message
from dfa_cli.config.own_files import place_of
from dfa_cli.config.plugins import module_hint, target_not_found_message, targets
from dfa_cli.errors import DfaError, nearest

_DFA = __name__.partition(".")[0]


def require_importable(
    config: Mapping[str, Any], choices: Mapping[str, str], code: OwnCode, folder: str | None = None
) -> None:
    """Raise `DfaError` for a class that is not there, and for own code with an import or a line that must fail.

    Only what is certain is refused. What shows when the code runs, such as a name that `globals()` sets, is left to the
    run.

    `config`: plain nested dictionaries; `choices`: the option chosen of each group; `code`: what the run imports;
    `folder`: that of `--config-dir`.
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
            top, first, *_ = target.split(".")
            if told := _hidden(top, first, code, folder):
                raise RefusedValueError(f"{group}._target_", f"{target} cannot be imported: {told}")
            module = target
            while module and not _is_there(module):
                module, _, name = module.rpartition(".")
            if module not in code.modules or module == target:
                continue
            outer = [module[: dot.start()] for dot in re.finditer(r"\.", module)]
            seen: set[str] = set()
            if not all(_only_defines(one, code, folder, seen) for one in (*outer, module)):
                continue
            names = _names(code.modules[module].content or b"")
            if not names & {name, "__getattr__"}:
                guess = _guess(name, (one for one in names if one[:1].isupper()))
                message = f"{target} cannot be imported: {module} has no {name}{guess}."
                raise RefusedValueError(f"{group}._target_", message)


def _is_there(module: str) -> bool:
    return module in sys.modules or (bool(module) and spec_of(module) is not None)


def _only_defines(name: str, code: OwnCode, folder: str | None, seen: set[str]) -> bool:
    """Follow the imports with which a module begins, and tell whether it does nothing but import and define.

    They are followed until the first line that does anything else: it may change where Python looks, as
    `sys.path.append(FOLDER)` does, and it may set any name.
    Raises `DfaError` for a module that is no Python, or with an import that must fail.
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
        if mistake := _outside_packages(node, module) or _not_in_dfa(node):
            raise DfaError(f"{place_of(Path(module.path), node.lineno)}: {mistake}")
        for imported, first in _imported(node):
            if not _is_there(imported):
                raise DfaError(
                    f"{place_of(Path(module.path), node.lineno)}: Python finds no module "
                    f"{imported}{module_hint(imported)}; install it, or "
                    "put its file into the folder that --config-dir names."
                )
            if first is not None and (told := _hidden(imported, first, code, folder)):
                raise DfaError(f"{place_of(Path(module.path), node.lineno)}: {told}")
            if not _only_defines(imported, code, folder, seen):
                return False
        if not _defines(node, code):
            return False
    return True


def _outside_packages(node: ast.stmt, module: OwnModule) -> str | None:
    """Say that an import with dots at its start leads out of all packages, if it does."""
    if not isinstance(node, ast.ImportFrom) or module.name == "__main__":  # `python -m` gives it a package
        return None
    if b"__package__" in (module.content or b""):  # It chooses its package itself.
        return None
    path = Path(module.path)
    package = module.name if path.name == "__init__.py" else module.name.rpartition(".")[0]
    if node.level <= len(package.split(".") if package else ()):
        return None
    line, node = ast.unparse(node), ast.ImportFrom(node.module, node.names, level=0)
    without = ast.unparse(node if node.module else ast.Import(node.names))
    why = (
        f"leads out of the package {package}"
        if package
        else f"is for a package, and {path.name} lies in none"
    )
    return f"`{line}` {why}. Type `{without}`."


def _not_in_dfa(node: ast.stmt) -> str | None:
    """Say which module or name an import asks of dfa that is not there."""
    if isinstance(node, ast.Import):
        wanted = [(alias.name, None) for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        wanted = [(node.module, alias.name) for alias in node.names]
    else:
        return None
    for module, name in wanted:
        if module.partition(".")[0] != _DFA:
            continue
        above, missing = module, name
        while not _is_there(above):
            above, _, missing = above.rpartition(".")
        if (
            missing in (None, "*")
            or missing.startswith("__")
            or (above == module and _is_there(f"{module}.{missing}"))
        ):
            continue
        names = _found_names(above) if above == module else frozenset()
        if names is None or missing in names:
            continue
        spec = spec_of(above)
        places = list(spec.submodule_search_locations or ()) if spec else []
        modules = [one.name for one in pkgutil.iter_modules(places)]
        what = "" if above == module else "module "
        return f"{above} has no {what}{missing}{_guess(missing, [*modules, *names])}."
    return None


def _hidden(module: str, name: str, code: OwnCode, folder: str | None) -> str | None:
    """Say that Python finds another module before a file of `folder`, and not the `name` that this file defines."""
    places = (Path(folder, f"{module}.py"), Path(folder, module, "__init__.py")) if folder else ()
    file = next(filter(Path.is_file, places), None)
    origin = _origin(module, code) if file else None
    if file is None or origin is None or (Path(origin).exists() and file.samefile(origin)):
        return None
    found = _found_names(module, code)
    if found is None or name in found or _is_there(f"{module}.{name}"):
        return None
    if name not in _names(file.read_bytes()) and not Path(folder or "", module, f"{name}.py").is_file():
        return None
    return hidden_message(module, file, name)


def _origin(module: str, code: OwnCode) -> str | None:
    if module in code.modules:
        return code.modules[module].path
    spec = getattr(sys.modules.get(module), "__spec__", None) or spec_of(module)
    return spec and spec.origin


def _found_names(module: str, code: OwnCode = NO_CODE) -> Collection[str] | None:
    """Return the names of a module that Python finds; `None` where only running it would show them."""
    if module in sys.modules and module not in code.modules:
        return None if hasattr(sys.modules[module], "__getattr__") else dir(sys.modules[module])
    origin = Path(_origin(module, code) or "")
    if origin.suffix != ".py":
        return None
    names = _names(origin.read_bytes())
    return None if names & {"*", "__getattr__", "globals", "locals", "vars", "setattr", "exec"} else names


def _guess(name: str, known: Iterable[str]) -> str:
    guesses = nearest(name, known, most=1)
    return f" (did you mean {guesses[0]}?)" if guesses else ""


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


def _imported(node: ast.stmt) -> Iterator[tuple[str, str | None]]:
    """Yield the packages of an import statement, each with what is taken from it first; `None`: with nothing."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            top, _, rest = alias.name.partition(".")
            yield top, rest.partition(".")[0] or None
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        top, _, rest = node.module.partition(".")
        for name in [rest.partition(".")[0]] if rest else [alias.name for alias in node.names]:
            yield top, None if name == "*" else name


def _names(content: bytes) -> set[str]:
    """Return all names that appear in a module, those that it binds among them, and `*` for an import of all names."""
    names: set[str] = set()
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return names
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name):
            names.add(node.id)
    return names
