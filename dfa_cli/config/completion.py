"""What the Tab key offers for overrides: from the names of the files in conf/, without importing Hydra or torch."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from dfa_cli.config.paths import conf_dir

MOST_SHOWN = 60  # of what a word means; fish takes a second line for another word

Offer = tuple[str, str]  # the word and what it means


def offers(before: Sequence[str], word: str) -> list[Offer]:
    """Completions of `word`, an override begun, after the words `before`.

    Zsh and fish hand over `rule=d` as one word; bash breaks it at the equals sign and wants the rest only.
    """
    conf = conf_dir()
    if before and before[-1] == "=":
        return _values(conf, before[-2] if len(before) > 1 else "", word)
    if not word and before and _is_group(conf, before[-1]):  # bash, right behind the equals sign
        return _values(conf, before[-1], "")
    key, equals, value = word.partition("=")
    if equals:
        return [(f"{key}={found}", words) for found, words in _values(conf, key, value)]
    found = [(f"{name}=", words) for name, words in _keys(conf, word) if name.startswith(word)]
    if len(found) == 1 and _is_group(conf, found[0][0][:-1]):
        # all of its options: a lone `rule=` would get a blank from the shell
        return offers(before, found[0][0])
    return found


def _values(conf: Path, group: str, value: str) -> list[Offer]:
    """Options of a group, and of the last one of a sweep: `bp,d` gives `bp,dfa`."""
    if not _is_group(conf, group):
        return []
    first, comma, begun = value.rpartition(",")
    taken = first.split(",")
    options = sorted(path for path in (conf / group).glob("*.yaml") if path.stem.startswith(begun))
    return [(f"{first}{comma}{path.stem}", _about(path)) for path in options if path.stem not in taken]


def _keys(conf: Path, word: str) -> Iterator[Offer]:
    """Groups and top-level keys; behind a dot, the keys of a group's options."""
    if "." in word:
        group = word.partition(".")[0]
        names = {key for path in sorted((conf / group).glob("*.yaml")) for key, _ in _entries(path)}
        yield from ((f"{group}.{name}", "") for name in sorted(names - {"_target_", "defaults"}))
        return
    for folder in sorted(path for path in conf.rglob("*") if path.is_dir()):
        if _is_group(conf, str(folder.relative_to(conf))):
            options = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
            yield str(folder.relative_to(conf)), textwrap.shorten(options, MOST_SHOWN, placeholder=" ...")
    for key, words in _entries(conf / "config.yaml"):
        if key not in ("defaults", "hydra", "run_id", "data_fallback"):
            yield key, textwrap.shorten(words, MOST_SHOWN, placeholder=" ...")


def _entries(path: Path) -> list[Offer]:
    """The keys of a YAML file that stand at the margin, with the comment behind each."""
    text = path.read_text(encoding="utf-8")
    return re.findall(r"^(\w+):[^#\n]*(?:#[ ]*(.*))?$", text, re.MULTILINE)


def _is_group(conf: Path, name: str) -> bool:
    return bool(re.fullmatch(r"\w+(/\w+)*", name)) and any((conf / name).glob("*.yaml"))


def _about(path: Path) -> str:
    """The first comment of a file."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# ") and not line.startswith("# @"):
            return textwrap.shorten(line[2:], MOST_SHOWN, placeholder=" ...")
    return ""
