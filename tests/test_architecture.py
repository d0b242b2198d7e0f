"""The rooms of dfa_cli/ import from each other only as tests/architecture.yaml allows.

Imports are read from the source text, including those inside functions and those for type checkers only.
docs/architecture.md explains the rooms.
"""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

import dfa_cli

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "dfa_cli"
TABLE: dict[str, dict[str, Any]] = yaml.safe_load(
    Path(__file__).with_name("architecture.yaml").read_text(encoding="utf-8")
)
SIDE = {room: side for side, rooms in TABLE.items() for room in rooms}
MAY: dict[str, list[str]] = {
    room: held["imports"] for rooms in TABLE.values() for room, held in rooms.items()
}
INSTEAD: dict[str, str] = {room: held["instead"] for rooms in TABLE.values() for room, held in rooms.items()}
HEAVY = ("torch", "hydra", "omegaconf")
# Verbs for functions of the face, now or later. A folder dfa_cli/train/, once imported, would hide `dfa_cli.train`.
VERBS = (
    "train",
    "sweep",
    "rerun",
    "resume",
    "load",
    "find",
    "compare",
    "plot",
    "report",
    "align",
    "clean",
    "evaluate",
)


@dataclass(frozen=True)
class Import:
    """An import of the module `name` in `file`. `at_start`: it runs when the file is imported, not in a function."""

    file: Path
    line: int
    name: str
    at_start: bool

    def __str__(self) -> str:
        return f"{self.file.as_posix()}:{self.line} imports {self.name}"


def modules_of(package: Path) -> dict[str, Path]:
    """Map the dotted name of each module of a package, such as `dfa_cli.records.run`, to its file."""
    files = sorted(package.rglob("*.py"))
    dotted = {".".join(path.relative_to(package.parent).with_suffix("").parts): path for path in files}
    return {name.removesuffix(".__init__"): path for name, path in dotted.items()}


def imports_of(package: Path) -> Iterator[Import]:
    """Yield every import in the files of a package. There are no relative ones, since ruff refuses them."""
    modules = modules_of(package)
    for path in modules.values():
        for node, at_start in _import_nodes(ast.parse(path.read_text(encoding="utf-8")), True):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                joined = [f"{node.module}.{alias.name}" for alias in node.names]
                names = [name if _is_module(package, name) else str(node.module) for name in joined]
            for name in dict.fromkeys(names):
                yield Import(path.relative_to(package.parent), node.lineno, name, at_start)


def _import_nodes(node: ast.AST, at_start: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child, at_start
        inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)) or (
            isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        )
        yield from _import_nodes(child, at_start and not inside)


def _is_module(package: Path, name: str) -> bool:
    path = package.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or path.is_dir()


def room_of(name: str) -> str:
    """Return the room of a module: `records` for `dfa_cli.records.run`. The package itself is the face."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "face"


def rooms_of(package: Path) -> set[str]:
    return {room_of(name) for name in modules_of(package)}


def wrong_imports(package: Path) -> list[str]:
    """Return a sentence for each import that the table does not allow."""
    sentences = []
    for one in imports_of(package):
        if one.name.partition(".")[0] != package.name:
            continue
        here, there = room_of(_dotted(one.file)), room_of(one.name)
        inside = one.name.partition(".")[2] or there
        allowed = [entry for entry in MAY.get(here, ()) if entry.partition(".")[0] == there]
        if there == here or here not in MAY or any(f"{inside}.".startswith(f"{entry}.") for entry in allowed):
            continue
        files = ", ".join(entry.partition(".")[2] for entry in allowed)
        rule = f"of {there} only {files}" if allowed else f"nothing of {there}"
        sentences.append(f"{one}, but {here} may import {rule}: {INSTEAD[here]}.")
    return sentences


def _dotted(file: Path) -> str:
    return ".".join(file.with_suffix("").parts).removesuffix(".__init__")


def circle_of_files(package: Path) -> str | None:
    """Return a sentence about files that import each other at their start, or `None` if there are none."""
    modules = modules_of(package)
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for one in imports_of(package):
        if one.at_start and one.name in modules and one.name != _dotted(one.file):
            graph[_dotted(one.file)].add(one.name)
    circle = circle_in(graph)
    if circle is None:
        return None
    return f"{' imports '.join(circle)}: move what they share into a file that imports none of them."


def circle_in(graph: dict[str, Any]) -> list[str] | None:
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1][::-1]  # graphlib lists the imported file before the importing one
    return None


# The code


def test_rooms_import_only_what_the_table_allows() -> None:
    assert not (wrong := wrong_imports(PACKAGE)), "\n" + "\n".join(wrong)


def test_the_table_has_every_room_and_no_other() -> None:
    there = rooms_of(PACKAGE)
    assert not (new := there - SIDE.keys()), (
        f"dfa_cli/ has {', '.join(sorted(new))}: say in tests/architecture.yaml what it may import."
    )
    assert not (gone := SIDE.keys() - there), f"dfa_cli/ has no {', '.join(sorted(gone))} any more."


def test_no_two_files_import_each_other() -> None:
    assert (circle := circle_of_files(PACKAGE)) is None, circle


def test_the_reading_wing_names_no_heavy_library() -> None:
    found = [
        str(one)
        for one in imports_of(PACKAGE)
        if one.name.partition(".")[0] in HEAVY and SIDE[room_of(_dotted(one.file))] == "reading"
    ]
    assert not found, (
        f"{'; '.join(found)}: what reads records works where {', '.join(HEAVY)} are not installed."
    )


def test_the_reading_wing_imports_no_heavy_library_indirectly() -> None:
    names = [name for name in modules_of(PACKAGE) if SIDE[room_of(name)] == "reading"]
    program = (
        "import sys, importlib\n"
        f"for name in {names}:\n"
        "    importlib.import_module(name)\n"
        f"print(*sorted(set({HEAVY}) & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


def test_only_one_file_imports_hydras_private_modules() -> None:
    found = {one.file.as_posix() for one in imports_of(PACKAGE) if one.name.startswith("hydra._internal")}
    others = sorted(found - {"dfa_cli/config/hydra_internals.py"})
    assert not others, (
        f"{', '.join(others)} imports hydra._internal. Only config/hydra_internals.py may: "
        "put a function there, and call it."
    )


def test_every_room_says_in_one_sentence_what_belongs_there() -> None:
    for room in SIDE.keys() - {"face"}:
        path = PACKAGE / room / "__init__.py" if (PACKAGE / room).is_dir() else PACKAGE / f"{room}.py"
        where = path.relative_to(ROOT)
        assert path.is_file(), (
            f"{where} is missing: say in its docstring, in one sentence, what belongs there."
        )
        first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n\n")[0]
        assert first.endswith("."), f"{where} does not begin with a sentence on what belongs there."


def test_rooms_are_nouns_and_verbs_belong_to_the_face() -> None:
    submodules = {name.split(".")[1] for name in modules_of(PACKAGE) if "." in name}
    assert not (taken := submodules & {*VERBS, *dfa_cli.__all__}), (
        f"dfa_cli/ has a room called {', '.join(sorted(taken))}: once it is imported it hides the function "
        "dfa_cli has under that name, so call the room by a noun."
    )


@pytest.mark.parametrize("name", dfa_cli.__all__)
def test_a_name_of_the_face_stays_the_same(name: str) -> None:
    assert getattr(dfa_cli, name) is getattr(dfa_cli, name)


# The table


def rooms_on(*sides: str) -> set[str]:
    return {room for room, side in SIDE.items() if side in sides}


def reached_from(side: str) -> set[str]:
    return {entry.partition(".")[0] for room in rooms_on(side) for entry in MAY[room]}


def test_the_ground_imports_nothing_that_stands_on_it() -> None:
    assert reached_from("ground") <= rooms_on("ground")


def test_the_wings_meet_in_records_only() -> None:
    assert reached_from("reading") <= rooms_on("ground", "reading")
    assert reached_from("training") <= rooms_on("ground", "training") | {"records"}


def test_the_reading_wing_imports_four_files_of_config() -> None:
    entries = {entry for room in rooms_on("reading") for entry in MAY[room] if entry.startswith("config")}
    assert entries == {"config.schema", "config.bounds", "config.identity", "config.parts"}


def test_the_table_has_no_circle() -> None:
    assert circle_in({room: [entry.partition(".")[0] for entry in MAY[room]] for room in MAY}) is None


# The checks themselves, on a small package with mistakes in it


def package_with(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / "dfa_cli" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / "dfa_cli"


RECORD = {"records/run.py": "", "errors.py": ""}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("from dfa_cli.records.run import Run", 1),
        ("import dfa_cli.records.run", 1),
        ("from dfa_cli.records import run", 1),
        ("def show(name):\n    from dfa_cli.records.run import read", 2),
        (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from dfa_cli.records.run import Run",
            3,
        ),
    ],
)
def test_a_wrong_import_is_named_with_what_to_do(tmp_path: Path, text: str, line: int) -> None:
    package = package_with(tmp_path, {**RECORD, "console/table.py": text})
    (sentence,) = wrong_imports(package)
    assert sentence == (
        f"dfa_cli/console/table.py:{line} imports dfa_cli.records.run, but console may import nothing of records: "
        "console/ knows nothing of runs, so pass it the number or the text to show."
    )


def test_a_file_that_may_not_be_imported_is_told_from_those_that_may(tmp_path: Path) -> None:
    files = {"config/identity.py": "", "config/bounds.py": "", "config/compose.py": "", "errors.py": ""}
    reader = "from dfa_cli.config import identity\nfrom dfa_cli.config import compose\nimport dfa_cli.config.bounds"
    (sentence,) = wrong_imports(package_with(tmp_path, {**files, "records/run.py": reader}))
    assert sentence.startswith(
        "dfa_cli/records/run.py:2 imports dfa_cli.config.compose, but records may import "
        "of config only schema, bounds, identity, parts: "
    )


def test_a_right_import_is_left_alone(tmp_path: Path) -> None:
    text = "import json\nfrom dfa_cli.errors import DfaError\nfrom dfa_cli.records.run import Run\n"
    assert not wrong_imports(package_with(tmp_path, {**RECORD, "records/find.py": text}))


def test_two_files_that_import_each_other_are_named(tmp_path: Path) -> None:
    files = {
        "records/run.py": "from dfa_cli.records.find import find",
        "records/find.py": "from dfa_cli.records import run",
        # No circle: the second import waits for a call.
        "records/keys.py": "import dfa_cli.records.query",
        "records/query.py": "def f():\n    import dfa_cli.records.keys",
    }
    sentence = circle_of_files(package_with(tmp_path, files))
    assert sentence is not None
    assert sentence.startswith(
        (
            "dfa_cli.records.run imports dfa_cli.records.find imports dfa_cli.records.run: ",
            "dfa_cli.records.find imports dfa_cli.records.run imports dfa_cli.records.find: ",
        )
    )
