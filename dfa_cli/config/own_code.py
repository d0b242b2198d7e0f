"""Finds the code of one's own that a run imports, and lets the run import exactly what was found.

*Own code* is every file of Python that a run imports and that belongs neither to an installed package nor to dfa: files
in the folder of `--config-dir`, in PYTHONPATH, and of packages that are installed in editable mode. It is found before
anything is imported, by following the import statements from the file of each `_target_`. So a module whose name is
computed while the run is running is not found here (`late_modules` finds it afterwards).

A file counts with all its bytes. A changed comment is changed code.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from dfa_cli.config.plugins import targets
from dfa_cli.errors import DfaError
from dfa_cli.machine.files import write_atomically
from dfa_cli.machine.provenance import CHECKOUT, CODE_FOLDERS, changes, code_state, git_state, repository_of

COPIES = ".code"  # in the output folder: a copy of each file of own code, named by its SHA-256
MAX_COPY_BYTES = 1_000_000
_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class OwnModule:
    """A module of own code.

    `file`: its path as the import system spells it, such as `pkg/net.py`.
    `path`: where the file is on this machine; empty for a module without a file, such as one of a notebook.
    `sum`: the SHA-256 of the file; `None` without a file.
    `imports`: the modules of own code that it imports.
    `content`: the bytes of the file, or `None` if they were not kept because the file is too large.
    """

    name: str
    file: str
    path: str
    sum: str | None
    imports: tuple[str, ...] = ()
    content: bytes | None = field(default=None, repr=False)

    def defines(self, name: str) -> bool:
        """Tell whether the file defines a class or a function of this name itself, and does not only import it."""
        with contextlib.suppress(SyntaxError, ValueError):
            nodes = ast.parse(self.content or b"").body
            return any(
                isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == name for node in nodes
            )
        return False


@dataclass(frozen=True)
class OwnCode:
    """The modules of own code that runs import, by name."""

    modules: Mapping[str, OwnModule] = field(default_factory=dict)

    @property
    def checksums(self) -> dict[str, str | None]:
        """The SHA-256 of each file, by the name that does not depend on the machine, such as `pkg/net.py`."""
        return {module.file: module.sum for _, module in sorted(self.modules.items())}

    def used_by(self, config: Mapping[str, Any]) -> OwnCode:
        """Return the part that a run with this configuration imports."""
        waiting = [name for target in targets(config) for name in _prefixes(target)]
        found: dict[str, OwnModule] = {}
        while waiting:
            name = waiting.pop()
            if name in self.modules and name not in found:
                found[name] = self.modules[name]
                waiting += self.modules[name].imports
        return OwnCode(found)

    def __or__(self, other: OwnCode) -> OwnCode:
        return OwnCode({**self.modules, **other.modules})

    def keep(self, outputs: Path) -> None:
        """Write a copy of each file below the output folder, once per content.

        The uncommitted changes of dfa, and of the git repositories that hold own code, are kept as well.
        """
        for module in self.modules.values():
            if module.content is not None:
                keep_copy(outputs, str(module.sum), module.content)
        self._keep_changes(outputs)

    def repositories(self) -> dict[str, dict[str, Any]]:
        """Return the state of each git repository that holds own code, by the name of its folder."""
        return {root.name: _state_of_repository(root)[0] for root in self._roots()}

    def _keep_changes(self, outputs: Path) -> None:
        for state, content in [_state_of_tool(), *map(_state_of_repository, self._roots())]:
            if state.get("diff") and content is not None and len(content) <= MAX_COPY_BYTES:
                keep_copy(outputs, state["diff"], content)

    def require_unchanged(self) -> None:
        """Raise `DfaError` if a file has changed that can only be imported from its own place."""
        for module in self.modules.values():
            if module.sum is not None and not _has_copy(module):
                _require_unchanged(module)

    def _roots(self) -> list[Path]:
        found = {repository_of(Path(module.path)) for module in self.modules.values() if module.path}
        return sorted(root for root in found if root is not None)

    def as_json(self) -> str:
        """Return the description of the modules, without the contents."""
        kept = ("name", "file", "path", "sum", "imports")
        return json.dumps([{key: getattr(module, key) for key in kept} for module in self.modules.values()])

    @classmethod
    def from_copies(cls, description: str, outputs: Path) -> OwnCode:
        """Undo `as_json`, with the contents that `keep` wrote below `outputs`.

        The copies are checked. Where there is none, because the file is too large, the file itself must be unchanged.
        Raises `DfaError` where neither holds.
        """
        modules = {}
        for item in json.loads(description):
            module = OwnModule(**{**item, "imports": tuple(item["imports"])})
            if module.sum is not None:
                copy = outputs / COPIES / module.sum
                content = _content_with_checksum(copy, module.sum) if copy.is_file() else None
                if content is None:
                    _require_unchanged(module)
                module = replace(module, content=content)
            modules[module.name] = module
        return cls(modules)


NO_CODE = OwnCode()


def _has_copy(module: OwnModule) -> bool:
    """Tell whether Python can execute the content of a module instead of its file."""
    return module.content is not None and module.path.endswith(".py")


@functools.cache
def _state_of_repository(root: Path) -> tuple[dict[str, Any], bytes | None]:
    """Return the state of a git repository of the user, and its uncommitted changes. It is asked once in a process."""
    return git_state(root, (), untracked=False), _changes(root, (), untracked=False)


@functools.cache
def _state_of_tool() -> tuple[dict[str, Any], bytes | None]:
    state = code_state()
    content = _changes(CHECKOUT, CODE_FOLDERS, untracked=True) if state.get("diff") else None
    is_the_same = content is not None and hashlib.sha256(content).hexdigest() == state.get("diff")
    return state, content if is_the_same else None


def _changes(root: Path, folders: Sequence[str], untracked: bool) -> bytes | None:
    try:
        return changes(root, folders, untracked)
    except (OSError, subprocess.SubprocessError):
        return None


def keep_copy(outputs: Path, name: str, content: bytes) -> None:
    """Write the copy `name` below the output folder, if it is not there."""
    copy = outputs / COPIES / name
    if not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(copy, content)


def _content_with_checksum(path: Path, expected: str) -> bytes | None:
    with contextlib.suppress(OSError):
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() == expected:
            return content
    return None


def _require_unchanged(module: OwnModule) -> None:
    try:
        now = hashlib.sha256(Path(module.path).read_bytes()).hexdigest()
    except OSError as error:
        raise DfaError(
            f"{module.path} cannot be read any more ({error.strerror}); the run needs it."
        ) from error
    if now != module.sum:
        raise DfaError(
            f"{module.path} has changed since the run was planned (checksum {str(module.sum)[:8]} then, "
            f"{now[:8]} now), and no copy of it can be imported. Give the command again to run the new code."
        )


def find_own_code(config: Mapping[str, Any]) -> OwnCode:
    """Find the own code that a run with this configuration imports. Nothing is imported.

    `config`: plain nested dictionaries.
    """
    waiting = [name for target in targets(config) for name in _prefixes(target)]
    modules: dict[str, OwnModule] = {}
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen or name.partition(".")[0] in _installed:
            continue
        seen.add(name)
        if (module := _own_module(name)) is not None:
            modules[name] = module
            waiting += module.imports
    return OwnCode(
        {
            name: replace(module, imports=tuple(filter(modules.__contains__, module.imports)))
            for name, module in modules.items()
        }
    )


# Names of modules that are no own code, so nothing in them is. They stay so as long as this process lives.
_installed: set[str] = set()


def _prefixes(dotted: str) -> Iterator[str]:
    """Yield the names that importing a dotted name imports: `a`, `a.b`, `a.b.c` for `a.b.c`."""
    parts = dotted.split(".")
    for count in range(1, len(parts) + 1):
        yield ".".join(parts[:count])


def _own_module(name: str) -> OwnModule | None:
    spec = spec_of(name)
    if spec is None:
        return _running_module(name)
    if spec.origin is None or not spec.has_location or not is_own_file(spec.origin):
        if "." not in name and spec.origin is not None:
            _installed.add(name)
        return None
    return _read(name, Path(spec.origin), is_package=spec.submodule_search_locations is not None)


def _read(name: str, path: Path, is_package: bool) -> OwnModule | None:
    parts = name.split(".")
    folders = parts if is_package else parts[:-1]
    try:
        content = path.read_bytes()
    except OSError:
        return None
    return OwnModule(
        name=name,
        file="/".join([*folders, path.name]),
        path=str(path.absolute()),
        sum=hashlib.sha256(content).hexdigest(),
        imports=tuple(dict.fromkeys(_imports(content, name, is_package))),
        content=content if len(content) <= MAX_COPY_BYTES else None,
    )


def _running_module(name: str) -> OwnModule | None:
    """Return a module that no finder knows: `__main__`, which is a script, a notebook, or text typed at a prompt."""
    module = sys.modules.get(name)
    if module is None or "." in name or getattr(module, "__spec__", None) is not None:
        return None
    path = getattr(module, "__file__", None)
    if path is None:
        return OwnModule(name, f"{name} (no file)", "", None)
    return _read(name, Path(path), is_package=False) if is_own_file(path) else None


def spec_of(name: str) -> ModuleSpec | None:
    """Find a module without importing it or a package that contains it."""
    parent, _, _ = name.rpartition(".")
    places: Sequence[str] | None = None
    if parent:
        package = spec_of(parent)
        if package is None or package.submodule_search_locations is None:
            return None
        # The search path of a namespace package is an object that looks up the parent package in sys.modules each
        # time it is read. The parent has not been imported, so read the plain list inside the object.
        places = list(
            getattr(package.submodule_search_locations, "_path", package.submodule_search_locations)
        )
    for finder in sys.meta_path:
        if finder is not _finder and hasattr(finder, "find_spec"):
            with contextlib.suppress(ImportError, ValueError, AttributeError, KeyError):
                if (spec := finder.find_spec(name, places)) is not None:
                    return spec
    # Python looks for a folder without __init__.py inside another one only after it has imported the outer one.
    folders = [
        str(place) for outer in places or () if (place := Path(outer, name.rpartition(".")[2])).is_dir()
    ]
    if not folders:
        return None
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = folders
    return spec


@functools.cache
def _installed_folders() -> tuple[str, ...]:
    return tuple({str(Path(sysconfig.get_path(kind)).resolve()) for kind in ("stdlib", "platstdlib")})


def is_own_file(path: str) -> bool:
    """Tell whether a file belongs neither to Python, nor to an installed package, nor to dfa."""
    place = Path(path).resolve()
    if {"site-packages", "dist-packages"} & set(place.parts):
        return False
    return not any(place.is_relative_to(folder) for folder in (*_installed_folders(), str(_PACKAGE)))


def is_module_of_own(path: str, name: str) -> bool:
    """Tell whether a file is own code that runs as the module `name`.

    A file that an installed package has written, as torch_geometric does for each convolution, is none. It runs as a
    module of this package. For a convolution of the user's own it stands in the folder of temporary files, and its name
    ends with random letters.
    """
    top = getattr(sys.modules.get(name.partition(".")[0]), "__file__", None)
    folder, file = os.path.split(os.path.realpath(path))
    is_temporary = folder == os.path.realpath(tempfile.gettempdir()) and file.startswith(f"{name}_")
    return (
        is_own_file(path) and os.path.isfile(path) and not is_temporary and (top is None or is_own_file(top))
    )


def _imports(content: bytes, name: str, is_package: bool) -> Iterator[str]:
    """Yield the modules that the import statements of a file may import, with the packages that contain them."""
    yield from _prefixes(name.rpartition(".")[0]) if "." in name else ()
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # The run itself reports it, with the line.
        return
    here = name if is_package else name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _prefixes(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = here.split(".")[: len(here.split(".")) - (node.level - 1)] if here else []
                base = ".".join([*above, *([node.module] if node.module else [])])
            if base:
                yield from _prefixes(base)
                for alias in node.names:
                    yield f"{base}.{alias.name}"


class _Loader(importlib.machinery.SourceFileLoader):
    """Executes the copy of the source in memory.

    `__file__` is still the path of the file, so that the module finds the files beside it.
    """

    def __init__(self, module: OwnModule):
        super().__init__(module.name, module.path)
        self._content = module.content

    def get_code(self, fullname: str) -> Any:
        assert self._content is not None
        return self.source_to_code(self._content, self.path)


class _Finder:
    """An import finder for `sys.meta_path`: it imports `modules` from the copies of their source in memory.

    Python asks it before it searches `sys.path`.
    """

    def __init__(self) -> None:
        self.modules: dict[str, OwnModule] = {}

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        module = self.modules.get(name)
        if module is None or not _has_copy(module):
            return None
        is_package = Path(module.path).name == "__init__.py"
        return importlib.util.spec_from_file_location(
            name,
            module.path,
            loader=_Loader(module),
            submodule_search_locations=[str(Path(module.path).parent)] if is_package else None,
        )


_finder = _Finder()


def import_exactly(code: OwnCode) -> None:
    """Let this process import the modules of `code` as they were found, even if their files change meanwhile.

    Modules of own code that were imported before are forgotten, unless they are the same with the same contents. They
    are imported again when the run needs them. So a job of a sweep finds nothing imported that only another job needs.
    """
    known, wanted = ({name: m.sum for name, m in of.items()} for of in (_finder.modules, code.modules))
    if known != wanted:
        for name in {*_finder.modules, *code.modules} - {"__main__"}:
            sys.modules.pop(name, None)
        _finder.modules = dict(code.modules)
    if _finder.modules and _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)  # type: ignore[arg-type]


def late_modules(known: OwnCode, before: Iterable[str]) -> dict[str, str | None]:
    """Return the SHA-256 of own files that were imported and that no import statement shows, by their names.

    `before`: the names of the modules that had been imported before the run.
    """
    earlier, late = set(before), {}
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if name in earlier or name in known.modules or not path or not is_module_of_own(path, name):
            continue
        with contextlib.suppress(OSError):
            parts = [*name.split(".")[:-1], Path(path).name]
            late["/".join(parts)] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    return late
