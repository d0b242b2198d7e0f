"""docs/performance.md: a section a part, each with its own date, so that a part can be measured again alone."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dfa_cli.provenance import git_state, versions
from dfa_cli.results.record import processor, write_atomically

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "performance.md"
HEAD = """# Performance

What `scripts/benchmark` measured, written by it. Contenders take turns, round by round; a figure is the median of the
rounds, a ratio the median of the ratios of each round; memory and growth are measured in processes of their own. Every
bar says whether it is met here.
"""
MARK = "<!-- part: {} -->"


@dataclass
class Section:
    """A title, what is compared, tables, and the bars: `(what, figure, bar, whether it is met)`."""

    title: str
    about: str
    body: list[str] = field(default_factory=list)
    bars: list[tuple[str, str, str, bool]] = field(default_factory=list)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        rule = ["---", *("---:" for _ in head[1:])]
        self.body += ["| " + " | ".join(cells) + " |" for cells in (head, rule, *rows)] + [""]

    def text(self, words: str) -> None:
        self.body += [words, ""]

    def at_least(self, what: str, ratio: float, least: float) -> None:
        self.bars.append((what, f"{ratio:.2f}", f"at least {least:g}", ratio >= least))

    def at_most(self, what: str, value: float, most: float, unit: str) -> None:
        self.bars.append(
            (what, f"{value:.2f} {unit}".strip(), f"at most {most:.4g} {unit}".strip(), value <= most)
        )

    def lines(self) -> list[str]:
        lines = [f"## {self.title}", "", self.about, "", *self.body]
        if self.bars:
            held = [
                (what, figure, bar, "met" if met else "**not met**") for what, figure, bar, met in self.bars
            ]
            bars = Section("", "")
            bars.table(("bar", "measured", "must be", ""), held)
            lines += bars.body
        return [*lines, conditions()]


def conditions() -> str:
    found, git = versions(), git_state()
    commit = (git["commit"] or "unknown")[:10] + (", changed since" if git["dirty"] else "")
    return (
        f"*{time.strftime('%Y-%m-%d')}, {processor()}, {os.cpu_count()} cores; dfa {found['dfa']} (commit {commit}), "
        f"Python {found['python']}, torch {found['torch']}, torch_geometric {found['torch-geometric']}, "
        f"NumPy {found['numpy']}.*"
    )


def write(section: Section, order: Sequence[str], name: str) -> None:
    """Put the section in its place on the page; the others stay as they are."""
    parts: dict[str, str] = {}
    if PAGE.exists():
        pieces = re.split(MARK.format("(.+)"), PAGE.read_text(encoding="utf-8"))[1:]
        parts = dict(zip(pieces[::2], pieces[1::2], strict=True))
    parts[name] = "\n\n" + "\n".join(section.lines())
    body = "\n\n".join(MARK.format(one) + "\n\n" + parts[one].strip() for one in order if one in parts)
    write_atomically(PAGE, f"{HEAD}\n{body}\n")
