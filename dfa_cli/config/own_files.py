"""Finds where a YAML file of the user's own says something, so that a message can name the file and the line.

The own files of a command are the chosen options that lie in the folder of `--config-dir`, and the files below that
folder which their defaults lists name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from dfa_cli.config.paths import conf_dir
from dfa_cli.errors import one_of


def is_typed(key: str, overrides: Sequence[str]) -> bool:
    """Tell whether a key was typed, by itself or within a dictionary as in `device.drift={tau: 1}`."""
    typed = (word.lstrip("+").partition("=") for word in overrides)
    return any(key == name or (value[:1] == "{" and key.startswith(f"{name}.")) for name, _, value in typed)


def place_of(path: Path, line: int | None) -> str:
    """Name a file, and a line of it: `mine/device/mylab.yaml, line 6`."""
    inside = os.path.relpath(path)
    shown = str(path) if inside.startswith(os.pardir) else inside
    return shown if line is None else f"{shown}, line {line}"


@dataclass(frozen=True)
class Entry:
    """An entry of a defaults list: `override /model: fc` has the key `override /model` and the option `fc`.

    `group`: the group that is meant, such as `model`, or `None` for the name of a file alone.
    """

    line: int
    key: str
    option: str
    group: str | None

    @property
    def overrides(self) -> bool:
        return "override" in self.key.split()


class OwnFile:
    """A YAML file below `folder` by its name there, such as `device/mylab`. A file that cannot be read has no keys."""

    def __init__(self, folder: Path, name: str):
        self.path, self.name, self.is_readable = folder / f"{name}.yaml", name, True
        self.group = name.rpartition("/")[0]
        try:
            self.text = self.path.read_text("utf-8")
            self._node = yaml.compose(self.text)
        except (OSError, ValueError, yaml.YAMLError):
            self.text, self._node, self.is_readable = "", None, False
            return
        self.is_readable = self._node is None or isinstance(self._node, yaml.MappingNode)

    def at(self, line: int | None) -> str:
        """Name the file, and a line of it: `mine/device/mylab.yaml, line 6`."""
        return place_of(self.path, line)

    @property
    def package(self) -> str:
        """The place of the file's keys in the configuration: `device` for a file of this group, `` for the top."""
        header = re.match(r"(?:\s*#[^\n]*\n)*?\s*# @package (\S+)", self.text)
        return self.group.replace("/", ".") if header is None else header[1].replace("_global_", "")

    def find(self, key: str) -> tuple[int, str] | None:
        """Return the line of a dotted key of the configuration, and its value as it is written there."""
        inside = f"{self.package}." if self.package else ""
        if not key.startswith(inside):
            return None
        node, line = self._node, None
        for part in key[len(inside) :].split("."):
            pairs = node.value if isinstance(node, yaml.MappingNode) else []
            found = next((pair for pair in pairs if pair[0].value == part), None)
            if found is None:
                return None
            line, node = found[0].start_mark.line + 1, found[1]
        if line is None or node is None:
            return None
        return line, self.text[node.start_mark.index : node.end_mark.index].strip()

    def place_of_no_list(self) -> str | None:
        """Name the line of a `defaults` that is no list, if there is one."""
        pairs = self._node.value if isinstance(self._node, yaml.MappingNode) else []
        wrong = [
            key
            for key, value in pairs
            if key.value == "defaults" and not isinstance(value, yaml.SequenceNode)
        ]
        return self.at(wrong[0].start_mark.line + 1) if wrong else None

    def entries(self) -> Iterator[Entry]:
        pairs = self._node.value if isinstance(self._node, yaml.MappingNode) else []
        for key, value in pairs:
            if key.value == "defaults" and isinstance(value, yaml.SequenceNode):
                for item in value.value:
                    yield from self._entries(item)

    def _entries(self, item: yaml.Node) -> Iterator[Entry]:
        if isinstance(item, yaml.ScalarNode):
            yield Entry(item.start_mark.line + 1, "", item.value, None)
        for key, value in item.value if isinstance(item, yaml.MappingNode) else ():
            name = re.split(r"[@ ]", key.value.strip().removeprefix("override ").removeprefix("optional "))[0]
            group = (
                name.removeprefix("/") if name.startswith("/") or not self.group else f"{self.group}/{name}"
            )
            yield Entry(key.start_mark.line + 1, key.value.strip(), str(value.value), group)


class OwnFiles:
    """The own files of a command, whose options are `choices`. Without `config_dir` there are none."""

    def __init__(self, choices: Mapping[str, object], config_dir: str | None):
        self.folder = None if config_dir is None else Path(config_dir)
        self.files: list[OwnFile] = []
        for group, option in choices.items():
            self._add(f"{group.partition('@')[0]}/{option}")

    @classmethod
    def of_words(cls, overrides: Sequence[str], config_dir: str | None) -> OwnFiles:
        """Find the files that overrides such as `device=mylab` choose, before anything is composed."""
        pairs = (word.lstrip("+").partition("=") for word in overrides)
        return cls({group: option for group, _, option in pairs}, config_dir)

    def named(self, name: str) -> OwnFile | None:
        """Return the file of this name, such as `device/mylab`."""
        return next((file for file in self.files if file.name == name), None)

    def place(self, key: str) -> str | None:
        """Name the file and the line that set a key, or the file of the option of a group. `None`: it is not set."""
        files = [file for file in self.files if file.group.replace("/", ".") == key]
        lines = (file.at(found[0]) for file in self.files if (found := file.find(key)))
        return next(lines, files[0].at(None) if files else None)

    def _add(self, name: str) -> None:
        if self.folder is None or self.named(name) or not (self.folder / f"{name}.yaml").is_file():
            return
        file = OwnFile(self.folder, name)
        self.files.append(file)
        for entry in file.entries():
            group = file.group if entry.group is None else entry.group
            self._add(f"{group}/{entry.option}".removeprefix("/"))

    def path_of(self, option: str) -> str | None:
        """Name a file of the user's own by the name of its option, in whatever group it lies."""
        if self.folder is None or not option.isidentifier():
            return None
        for path in sorted(self.folder.rglob(f"{option}.yaml")):
            return OwnFile(self.folder, path.relative_to(self.folder).with_suffix("").as_posix()).at(None)
        return None

    def options(self, group: str) -> list[str]:
        """Return the options of a group, own ones included."""
        folders = [conf_dir(), *([self.folder] if self.folder else [])]
        return sorted({file.stem for folder in folders for file in (folder / group).glob("*.yaml")})

    def explain(self, words: str) -> str | None:
        """Turn Hydra's message about a defaults list into a sentence with the file, the line and what to write.

        `None`: the message is about something else, or about no file of the user's own.
        """
        if twice := re.match(
            r"Multiple values for (\S+)\. |(\S+) appears more than once in the final", words
        ):
            return self._chosen_twice((twice[1] or twice[2]).partition("@")[0])
        if not (inside := re.match(r"In '?([^':]+)'?: (.*)", words, re.DOTALL)):
            return None
        if missing := re.match(r"Could not (?:load|find) '(.+)/([^/']*)'", inside[2]):
            return self._missing_option(missing[1], missing[2])
        if (file := self.named(inside[1])) is None:
            return None
        if unknown := re.match(r"Could not override '([^'@]+)", inside[2]):
            return self._missing_group(file, unknown[1])
        if early := re.match(r"Override '(\S+) : ", inside[2]):
            entry = self._entry(file, early[1].partition("@")[0])
            return f"{file.at(entry.line if entry else None)}: entries with override belong at the end of the list."
        return None

    def _chosen_twice(self, group: str) -> str | None:
        for file in self.files:
            for entry in file.entries():
                if entry.group == group and not entry.overrides:
                    return (
                        f"{file.at(entry.line)}: {group} has an option already, which this entry must replace; "
                        f"write `- override {entry.key}: {entry.option}`."
                    )
        return None

    def _missing_option(self, group: str, option: str) -> str | None:
        # Hydra names the file whose entry is overridden, and not the one that overrides it.
        for file in self.files:
            for entry in file.entries():
                if entry.option == option and (file.group if entry.group is None else entry.group) == group:
                    if known := self.options(group):
                        return f"{file.at(entry.line)}: {group}={option}: {one_of(option, known, 'dfa train --help')}."
                    return f"{file.at(entry.line)}: {self._no_group(file, group, entry)}"
        return None

    def _missing_group(self, file: OwnFile, group: str) -> str:
        entry = self._entry(file, group)
        return f"{file.at(entry.line if entry else None)}: {self._no_group(file, group, entry)}"

    def _no_group(self, file: OwnFile, group: str, entry: Entry | None) -> str:
        """Say that there is no such group to choose from, and how to name the one that may be meant."""
        inner = group.removeprefix(f"{file.group}/")
        if inner != group and (conf_dir() / inner).is_dir():
            option = entry.option if entry else "OPTION"
            return (
                f"a group is looked for inside {file.group} unless a slash stands before its name; "
                f"write `- override /{inner}: {option}`."
            )
        known = [path.relative_to(conf_dir()).as_posix() for path in conf_dir().rglob("*") if path.is_dir()]
        outer = group.rpartition("/")[0]
        beside = [name for name in known if name.rpartition("/")[0] == outer]
        if group in known:
            return f"the defaults above this entry have no group {group}."
        return f"there is no such group: {one_of(group, beside or known)}."

    def _entry(self, file: OwnFile, group: str) -> Entry | None:
        return next((entry for entry in file.entries() if entry.group == group), None)
