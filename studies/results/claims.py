"""Checks the claims of the paper against the runs: what was measured, what is required, and whether it is met."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import isnan

from studies.results.averages import alignment, certainty, points_between
from studies.results.selection import NAMES, SERIES, by_setting, hidden_blocks, main_results, pick
from studies.results.table import Row

Claim = tuple[str, str, str, str]


def claims(rows: Sequence[Row]) -> list[Claim]:
    """Return the lines of the first table of docs/results.md, one for each claim whose runs exist."""
    lines: list[Claim] = []
    bp, cpu, optics, last = SERIES

    def compare(what: str, data: str, more: str, less: str, bar: str, met: Callable[[float], bool]) -> None:
        """Add a line that compares `more - less`, in points, with a bar."""
        points, ci = points_between(main_results(rows, data, more), main_results(rows, data, less))
        if not isnan(points):
            claim = f"{what}: {NAMES[data]}, {more} less {less}"
            ends = f" [{ci[0]:.1f}, {ci[1]:.1f}]" if ci else ""
            lines.append((claim, f"{points:+.1f}{ends}", bar, _answer(met(points))))

    for data in ("mnist", "cora", "citeseer", "pubmed"):
        compare("DFA trains the network", data, cpu, bp, "above −2", lambda p: p > -2)
    for data, most in (("mnist", 0.5), ("cora", 1.0), ("citeseer", 1.0), ("pubmed", 1.0)):
        what = "ternarised, noisy optics are good enough"
        compare(what, data, optics, cpu, f"within {most}", lambda p, most=most: abs(p) <= most)
    for data in ("mnist", "cora", "citeseer", "pubmed"):
        compare("both together", data, optics, bp, "above −2", lambda p: p > -2)
    for data, least in (("mnist", 3.0), ("cora", 10.0)):
        what = "training the last block only is not"
        compare(what, data, cpu, last, f"at least {least:g}", lambda p, least=least: p >= least)
    return [*lines, *_alignment(rows)]


def _alignment(rows: Sequence[Row]) -> Iterator[Claim]:
    """Yield one line for each model: the block whose alignment is least certain."""
    for model in ("fc", "gcn"):
        settings = by_setting(pick(rows, experiment="feedback", model=model))
        blocks = [(runs, i) for runs in settings for i in hidden_blocks(runs[0])]
        if blocks:
            runs, i = min(blocks, key=lambda block: certainty(*block))
            claim = f"the hidden blocks' gradients align with the true ones: `{model}`, all {len(settings)} settings"
            measured = f"least certain: block {i}, {alignment(runs, i)}"
            yield claim, measured, "above its standard error", _answer(certainty(runs, i) > 1)


def _answer(holds: bool) -> str:
    return "yes" if holds else "**no**"
