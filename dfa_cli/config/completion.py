"""Completes overrides for the Tab key, from the file names in conf/. Neither Hydra nor torch is imported."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from dfa_cli.config.paths import ONLY_PLANNED, conf_dir

MAX_SHOWN = 60  # characters of a description; fish needs a second line for a longer one

Completion = tuple[str, str]  # a word, and its description


def complete_override(before: Sequence[str], word: str) -> list[Completion]:
    """Return the completions of `word`, the beginning of an override, after the words `before`.

    Zsh and fish pass `rule=d` as one word. Bash splits it at the equals sign, and expects only the part behind it.
    """
    conf = conf_dir()
    if before and before[-1] == "=":
        return _values(conf, before[-2] if len(before) > 1 else "", word)
    # In bash, with the cursor directly behind the equals sign, the last word is the group.
    if not word and before and _is_group(conf, before[-1]):
        return _values(conf, before[-1], "")
    key, equals, value = word.partition("=")
    if equals:
        return [(f"{key}={option}", about) for option, about in _values(conf, key, value)]
    completions = [(f"{name}=", about) for name, about in _keys(conf, word) if name.startswith(word)]
    if len(completions) == 1 and _is_group(conf, completions[0][0][:-1]):
        # Only one group is left. Complete to its options at once: the shell would put a blank behind a lone `rule=`.
        return complete_override(before, completions[0][0])
    return completions


def _values(conf: Path, group: str, value: str) -> list[Completion]:
    """Return the options of a group that complete `value`.

    Of a list, the last item is completed: `bp,d` to `bp,dfa`.
    """
    if not _is_group(conf, group):
        return []
    listed, comma, begun = value.rpartition(",")
    taken = listed.split(",")
    options = sorted(path for path in (conf / group).glob("*.yaml") if path.stem.startswith(begun))
    return [(f"{listed}{comma}{path.stem}", _description(path)) for path in options if path.stem not in taken]


def _keys(conf: Path, word: str) -> Iterator[Completion]:
    """Yield the groups and the top-level keys.

    If `word` has a dot, yield the keys that the options of its group have.
    """
    if "." in word:
        group = word.partition(".")[0]
        names = {key for path in sorted((conf / group).glob("*.yaml")) for key, _ in _entries(path)}
        yield from ((f"{group}.{name}", "") for name in sorted(names - {"_target_", "defaults"}))
        return
    for folder in sorted(path for path in conf.rglob("*") if path.is_dir()):
        if _is_group(conf, str(folder.relative_to(conf))):
            options = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
            yield str(folder.relative_to(conf)), textwrap.shorten(options, MAX_SHOWN, placeholder=" ...")
    for key, about in _entries(conf / "config.yaml"):
        if key not in ("defaults", "hydra", "run_id", "data_fallback"):
            yield key, textwrap.shorten(about, MAX_SHOWN, placeholder=" ...")


def _entries(path: Path) -> list[Completion]:
    """Return the top-level keys of a YAML file, each with the comment behind it."""
    text = path.read_text(encoding="utf-8")
    return re.findall(r"^(\w+):[^#\n]*(?:#[ ]*(.*))?$", text, re.MULTILINE)


def _is_group(conf: Path, name: str) -> bool:
    if name in ONLY_PLANNED:
        return False
    return bool(re.fullmatch(r"\w+(/\w+)*", name)) and any((conf / name).glob("*.yaml"))


def _description(path: Path) -> str:
    """Return the first comment of a YAML file, which describes the option.

    A comment such as `# @package _global_` is an instruction to Hydra and is skipped.
    """
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# ") and not line.startswith("# @"):
            return textwrap.shorten(line[2:], MAX_SHOWN, placeholder=" ...")
    return ""
