"""Writes docs/performance.md.

The page has one section for each part of the benchmark, and in it one for each machine, with its own date. So one part
can be measured again alone, and a measurement on another machine replaces nothing.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dfa_cli.machine.cpu import processor
from dfa_cli.machine.files import write_atomically
from dfa_cli.machine.provenance import git_state, versions

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "performance.md"
HEAD = """# Performance

What `scripts/benchmark` measured. The script wrote this page. The programs that are compared take turns, round by
round. A figure is the median of the rounds. A ratio is the median of the ratios of each round. Memory and growth are
measured in separate processes. The last column of a table of targets says whether that machine meets the target.

`dfa` lets the threads of a command sleep soon while they wait for each other, so that other programs slow it down less.
In a Python program or a notebook of your own this takes one line before `import torch`:
`os.environ["GOMP_SPINCOUNT"] = "1000"` (with Intel's or LLVM's OpenMP `os.environ["KMP_BLOCKTIME"] = "0"`).

On a graphics card coefficients are computed, and sparse rows added up, by kernels of Triton. They were tested by
Triton's interpreter and by reading their compiled code, but have not run on a card yet. `scripts/gpu_check` measures
them. By its count of instructions the compiled code allows an H200 at most 5.7e11 real coefficients a second for one
vector, and 4.6e11 for 256 vectors at once: upper bounds, not measured. Before these kernels an H200 computed 3.8e9
coefficients of the procedural medium a second, and two runs of `gcn` on Cora with equal seeds differed in their weights
(torch 2.11, 2026-11-27).
"""
MARK, MACHINE = "<!-- part: {} -->", "### "


@dataclass
class Section:
    """One section of the page: its title, what it compares, its tables, and its bars `(what, figure, bar, is met)`."""

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
        """Return the Markdown lines of this machine."""
        lines = [MACHINE + machine(), "", *self.body]
        if self.bars:
            held = [
                (what, figure, bar, "met" if met else "**not met**") for what, figure, bar, met in self.bars
            ]
            bars = Section("", "")
            bars.table(("target", "measured", "must be", ""), held)
            lines += bars.body
        return [*lines, conditions()]


def machine() -> str:
    return f"{re.sub(r'[(](R|TM)[)]', '', processor())}, {os.cpu_count()} cores"


def conditions() -> str:
    found, git = versions(), git_state()
    commit = (git["commit"] or "unknown")[:10] + (", changed since" if git["dirty"] else "")
    return (
        f"*{time.strftime('%Y-%m-%d')}; dfa {found['dfa']} (commit {commit}), Python {found['python']}, "
        f"torch {found['torch']}, torch_geometric {found['torch-geometric']}, NumPy {found['numpy']}.*"
    )


def write(section: Section, order: Sequence[str], name: str, page: Path = PAGE) -> None:
    """Put the section of this machine in its place on the page. Other parts and other machines stay as they are."""
    parts: dict[str, str] = {}
    if page.exists():
        pieces = re.split(MARK.format("(.+)"), page.read_text(encoding="utf-8"))[1:]
        parts = dict(zip(pieces[::2], pieces[1::2], strict=True))
    _, *texts = re.split(f"^(?={MACHINE})", parts.get(name, ""), flags=re.MULTILINE)
    machines = {text.partition("\n")[0]: text.strip() for text in texts}
    machines[MACHINE + machine()] = "\n".join(section.lines())
    parts[name] = "\n\n".join([f"## {section.title}", section.about, *machines.values()])
    body = "\n\n".join(MARK.format(one) + "\n\n" + parts[one].strip() for one in order if one in parts)
    write_atomically(page, f"{HEAD}\n{body}\n")
