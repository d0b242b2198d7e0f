"""Writes docs/configuration.md from conf/ and from the bounds in dfa_cli/config/bounds.py.

.venv/bin/python docs/generate/configuration.py            writes the page
.venv/bin/python docs/generate/configuration.py --check    writes nothing; exit code 1 when the page is out of date
"""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import yaml

from dfa_cli.config.bounds import BOUNDS
from dfa_cli.config.schema import FACTS, Config

ROOT = Path(__file__).resolve().parents[2]
CONF, PAGE = ROOT / "conf", ROOT / "docs" / "configuration.md"
COMMAND = ".venv/bin/python docs/generate/configuration.py"

GROUPS = {
    "model": "The network that is trained.",
    "rule": "The training rule: it computes the gradients of the blocks.",
    "device": "The projection device: it projects the error. Rules that need no projection do not use it. The other "
    "`opu_` options are presets of hardware: `opu_sim` with other parts. They take all its keys.",
    "device/encoding": "`opu_sim`: how a row of the error becomes binary patterns.",
    "device/medium": "`opu_sim`: the transmission matrix.",
    "device/readout": "`opu_sim`: how the field is recovered from what the camera sees.",
    "device/camera": "`opu_sim`: from photons to grey levels.",
    "device/drift": "`opu_sim`: how the optics change from one training step to the next.",
    "data": "The data set. The default of graph models is `cora`.",
    "optimizer": "The optimizer. Any class of `torch.optim` can be used whose step needs no closure.",
    "parallel": "How the run is divided over processes. "
    "[independent-blocks.md](independent-blocks.md#one-model-over-several-processes) tells more.",
    "tuned": "Values for one combination of a model, a data set and a rule. The file that bears the names of all three "
    "is used automatically. Its values replace the defaults above. Values on the command line replace its values. "
    "[tuning.md](tuning.md) tells how they were chosen.",
    "experiment": "All the values of a study in one file. Values on the command line replace those of the file.",
    "launcher": "How the jobs of a sweep are started. Without a launcher they run one after another in one process. "
    "[sweeps.md](sweeps.md) tells more.",
    "sweeper": "The search method that chooses the jobs of a sweep. Without a sweeper every combination is run.",
    "hardware": "For `dfa plan`: what a stage runs on. It is chosen with `--hardware`, and no run reads it.",
    "preset": "For `dfa plan`: a model of the literature. It is chosen with `--preset`, and no run reads it.",
}
# Groups of many small options. Their table has a row for each option and a column for each key.
ONE_ROW_AN_OPTION = ("tuned",)
# Groups whose keys are Hydra's, such as `hydra.launcher.n_jobs`. They are typed without `hydra.`.
OF_HYDRA = ("launcher", "sweeper")
NOT_SHOWN = ("_partial_",)
TYPES = {
    "str | None": "text, or null",
}

HEAD = f"""\
# Configuration

This page lists every key that can be set, with its default, its bounds and its meaning. A *group* is a folder of
`conf/`, and an *option* is a file in it. `group=option` chooses an option. `key=value` sets one key. A key of a group
is written with dots:

    dfa train model=gcn data=cora rule=dfa device=opu_sim device/readout=off_axis optimizer.lr=0.02 seed=3
    dfa sweep data=digits rule=bp,dfa device=opu_sim device.camera.bits=4,6,8 seed='range(10)'

A list is written `[64,64]`, and an absent value is written `null`. A key may get a value in several places. The last of
these places counts: the file of an option, the top-level keys below, the file in `tuned`, the file in `experiment`, the
command line. `dfa train --cfg job ...` shows the values that a command would use. A value that does not fit is refused
before anything is run.

In the tables an empty cell means that the option has no such key. `needs`, `gives` and `stand_in` say what an option
needs or offers, and cannot be set. The page is made from `conf/` and `dfa_cli/config/bounds.py` by
`{COMMAND}`.
To change a line of it, change the file that the line comes from and run that command.
"""


@dataclass
class Entry:
    """One value of a YAML file: its dotted key, its text, and the comment beside it."""

    key: str
    value: str
    comment: str


@dataclass
class File:
    """One YAML file of conf/.

    `about`: the comments above the first key. `defaults`: the options that the file itself chooses.
    """

    path: Path
    about: list[str] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    defaults: list[Entry] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.path.stem

    def __getitem__(self, key: str) -> Entry | None:
        return next((entry for entry in self.entries if entry.key == key), None)


def read(path: Path) -> File:
    """Read a YAML file with its comments, which are found by the positions of keys and values that PyYAML reports."""
    text = path.read_text(encoding="utf-8")
    above = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    file = File(path, [line[1:].strip() for line in above if not line.startswith("# @package")])
    lines = text.splitlines()
    node = yaml.compose(text, yaml.SafeLoader)  # `None` for an option without keys
    for key, value in node.value if node else ():
        if key.value == "defaults":
            for item in value.value:
                pairs = item.value if isinstance(item, yaml.MappingNode) else []
                file.defaults += [entry for k, v in pairs for entry in _entries(k, v, "", lines)]
        else:
            file.entries += _entries(key, value, "", lines)
    return file


def _entries(key: yaml.Node, value: yaml.Node, prefix: str, lines: Sequence[str]) -> Iterator[Entry]:
    name = f"{prefix}{key.value}"
    if isinstance(value, yaml.MappingNode) and not value.flow_style:
        if words := _comment(lines[key.end_mark.line][key.end_mark.column + 1 :]):
            yield Entry(name, "", words)
        for inner, held in value.value:
            yield from _entries(inner, held, f"{name}.", lines)
        return
    start, end = value.start_mark, value.end_mark
    if start.line == end.line:
        yield Entry(
            name, lines[start.line][start.column : end.column], _comment(lines[end.line][end.column :])
        )
    else:  # A value over several lines has its comment, if any, behind the key.
        content = value.value if isinstance(value, yaml.ScalarNode) else yaml.safe_load(yaml.serialize(value))
        text = " ".join(content.split()) if isinstance(content, str) else json.dumps(content)
        yield Entry(name, text, _comment(lines[key.end_mark.line][key.end_mark.column + 1 :]))


def _comment(rest: str) -> str:
    """Return the text after the `#` in the rest of a line."""
    return rest.partition("#")[2].strip()


def page() -> str:
    """Return the text of the page."""
    top = read(CONF / "config.yaml")
    groups = {group: [read(path) for path in sorted((CONF / group).glob("*.yaml"))] for group in GROUPS}
    parts = [HEAD, *_overview(groups, top), *_top_level(top)]
    for group, files in groups.items():
        parts += [
            f"{'###' if '/' in group else '##'} {group}\n",
            GROUPS[group] + "\n",
            *_section(group, files),
        ]
    return "\n".join(parts)


def _overview(groups: dict[str, list[File]], top: File) -> Iterator[str]:
    optical = read(CONF / "device" / "opu_sim.yaml")
    default = {entry.key: _code(entry.value) for entry in [*top.defaults, *optical.defaults]}
    yield "## Groups\n"
    rows = []
    for group, files in groups.items():
        options = ", ".join(_code(file.name) for file in files)
        if group in ONE_ROW_AN_OPTION:
            options = f"{len(files)} files"
        about = GROUPS[group].partition(". ")[0].rstrip(".")
        rows.append(
            [
                f"[`{group}`](#{group.replace('/', '')})",
                options,
                default.get(group.rpartition("/")[2], "by name"),
                about,
            ]
        )
    yield table(["group", "options", "default", ""], rows)


def _top_level(top: File) -> Iterator[str]:
    yield "## Top-level keys\n"
    types = {one.name: TYPES.get(str(one.type), "") for one in fields(Config)}
    rows = [
        [_code(one.key), _code(one.value), bound(one.key) or types[one.key], _words(one.comment)]
        for one in top.entries
        if "." not in one.key and one.key in types
    ]
    yield table(["key", "default", "has to be", ""], rows)


def _section(group: str, files: list[File]) -> Iterator[str]:
    if group in ONE_ROW_AN_OPTION:
        yield from _one_row_an_option(files)
        return
    if group == "experiment":
        yield from _experiments(files)
        return
    facts = [fact for fact in FACTS if any(file[fact] for file in files)]
    targets = any(file["_target_"] for file in files)
    heading = ["option", "", *(["class"] if targets else []), *facts]
    rows = []
    for file in files:
        cells = [_link(file, group), _about(file)]
        if targets:
            cells.append(_code(_value(file, "_target_")))
        rows.append(cells + [_code(_value(file, fact)) for fact in facts])
    yield table(heading, rows)
    notes = {
        f"- {_code(f'{fact}: {entry.value}')}: {_words(entry.comment)}"
        for fact in facts
        for file in files
        if (entry := file[fact]) and entry.comment
    }
    if notes:
        yield "\n".join(sorted(notes)) + "\n"
    for family in families(files):
        yield _keys(group, family)


def families(files: Sequence[File]) -> list[list[File]]:
    """Group the options that share a key, for one table each. Options without keys of their own are left out."""
    found: list[list[File]] = []
    for file in files:
        if not keys_of([file]):
            continue
        related = [family for family in found if set(keys_of(family)) & set(keys_of([file]))]
        found = [family for family in found if family not in related]
        found.append([member for family in related for member in family] + [file])
    return [sorted(family, key=files.index) for family in found]


def keys_of(files: Iterable[File]) -> list[str]:
    """Return the keys that can be set, each once, in the order of the files. Keys of nested parts come last."""
    keys = {entry.key: None for file in files for entry in file.entries}
    hidden = ("_target_", *FACTS)
    shown = [key for key in keys if key not in hidden and key.rpartition(".")[2] not in NOT_SHOWN]
    return sorted(
        shown, key=lambda key: "." in key.removeprefix("hydra.launcher.").removeprefix("hydra.sweeper.")
    )


def _keys(group: str, family: list[File]) -> str:
    rows = []
    for key in keys_of(family):
        typed = key.removeprefix("hydra.") if group in OF_HYDRA else f"{group.replace('/', '.')}.{key}"
        values = [_code(_value(file, key)) for file in family]
        rows.append([_code(typed), *values, bound(typed), _meaning(key, family)])
    names = [_code(file.name) for file in family]
    return table(["key", *names, "has to be", ""], rows)


def _meaning(key: str, family: list[File]) -> str:
    """Return the comment at a key, or that of each option where the comments differ."""
    said: dict[str, list[str]] = {}
    for file in family:
        if (entry := file[key]) and entry.comment:
            said.setdefault(entry.comment, []).append(_code(file.name))
    if len(said) == 1:
        return _words(next(iter(said)))
    return "<br>".join(f"{', '.join(names)}: {_words(comment)}" for comment, names in said.items())


def _one_row_an_option(files: list[File]) -> Iterator[str]:
    keys = sorted(keys_of(files), key=lambda key: ("." in key, key))
    rows = [[_link(file, "tuned"), *(_code(_value(file, key)) for key in keys)] for file in files]
    said: dict[str, list[str]] = {}
    for file in files:
        said.setdefault(_about(file), []).append(_code(file.name))
        for entry in file.entries:
            if entry.comment:
                said.setdefault(f"{_code(entry.key)}: {_words(entry.comment)}", []).append(_code(file.name))
    for words, names in said.items():
        yield (words if len(names) == len(files) else f"{', '.join(names)}: {words}") + "\n"
    yield table(["option", *map(_code, keys)], rows)


def _experiments(files: list[File]) -> Iterator[str]:
    rows = []
    for file in files:
        chosen = [f"{entry.key.split()[-1].lstrip('/')}={entry.value}" for entry in file.defaults]
        set_ = [
            f"{one.key}={one.value}"
            for one in file.entries
            if one.value and one.key != "grids" and not one.key.startswith("hydra.")
        ]
        swept = "hydra.sweeper.params."
        over = [
            f"{one.key.removeprefix(swept)}={one.value}" for one in file.entries if one.key.startswith(swept)
        ]
        if grids := file["grids"]:  # each on a line
            over += [
                " ".join(f"{key}={held}" for key, held in one.items()) for one in json.loads(grids.value)
            ]
        rows.append(
            [
                _link(file, "experiment"),
                _about(file),
                *("<br>".join(map(_code, part)) for part in (chosen + set_, over)),
            ]
        )
    yield table(["option", "", "sets", "sweeps over"], rows)


def bound(key: str) -> str:
    """Return what a value has to be, in the words of bounds.py."""
    return _words(BOUNDS[key].words) if key in BOUNDS else ""


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table without its empty columns. An empty heading stands above the words that explain a row."""
    columns = [column for column in zip(heading, *rows, strict=True) if any(column[1:])]
    lines = [list(line) for line in zip(*columns, strict=True)]
    lines.insert(1, ["---"] * len(columns))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _value(file: File, key: str) -> str:
    entry = file[key]
    return entry.value if entry else ""


def _link(file: File, group: str) -> str:
    return f"[`{file.name}`](../conf/{group}/{file.path.name})"


def _about(file: File) -> str:
    return " ".join(_words(line) for line in file.about)


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|") if text else ""


def _words(text: str) -> str:
    """Write a comment as Markdown: a command at its end becomes code, and everything else is escaped."""
    begins = re.search(r"dfa (train|sweep) |$", text)
    at = begins.start() if begins else len(text)
    return re.sub(r"([\\|*$<`~])", r"\\\1", text[:at]) + _code(text[at:])


def main() -> int:
    text = page()
    if "--check" in sys.argv[1:]:
        if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
            return 0
        print(
            f"{PAGE.relative_to(ROOT)} is out of date: conf/ has changed. Write it again with {COMMAND}",
            file=sys.stderr,
        )
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
