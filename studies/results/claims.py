"""Checks the claims of the paper against the runs: what was measured, what is required, and whether it is met."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import isnan
from pathlib import Path

from studies.results import sections
from studies.results.averages import alignment, average, certainty, percent, points_between, with_interval
from studies.results.selection import NAMES, SERIES, by_setting, hidden_blocks, main_results, of_series, pick
from studies.results.table import Row

Claim = tuple[str, str, str, str]
BLOCKS_PAGE = Path(__file__).resolve().parents[2] / "docs" / "independent-blocks.md"
# The bars of that page by their names, and what they say of the paper.
OF_BLOCKS = {
    "the same for 8, 64 and 256 blocks, largest / smallest": "blocks need not be held: memory of a step of `dfa`, "
    "recomputing, at 8, 64 and 256 blocks, largest / smallest",
    "256 blocks: bp / dfa, recompute": "blocks need not be held: memory of a step at 256 blocks, `bp` / `dfa`, "
    "recomputing",
    "dfa's step / bp's best": "the backward pass is parallel: a step in two processes, `dfa` / `bp` in its best "
    "schedule",
    "backward bytes: 1F1B with the same split / dfa": "little is communicated: bytes sent back, `bp` / `dfa`",
}


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
        what = "noisy optics are good enough"
        compare(what, data, optics, cpu, f"within {most}", lambda p, most=most: abs(p) <= most)
    what = "noisy optics are good enough, the bar for the default encoding"
    compare(what, "citeseer", optics, cpu, "at least −0.4", lambda p: p >= -0.4)
    for data in ("mnist", "cora", "citeseer", "pubmed"):
        compare("both together", data, optics, bp, "above −2", lambda p: p > -2)
    for data, least in (("mnist", 3.0), ("cora", 10.0)):
        what = "training the last block only is not"
        compare(what, data, cpu, last, f"at least {least:g}", lambda p, least=least: p >= least)
    return [*lines, *_depth(rows), *_alignment(rows), *_of_blocks()]


def _depth(rows: Sequence[Row]) -> Iterator[Claim]:
    """Yield the bars of experiment=depth: light trains deep networks as a processor does."""
    points, ci = sections.mean_over_networks(rows, sections.OPTICS)
    if isnan(points):
        return
    what = "light trains deep networks: "
    networks = "`fc`, `gcn`, `gat`, `cheb`, `sage` with 2, 3 and 4 blocks"
    yield (
        f"{what}{networks}, `opu_sim` less `cpu` on average",
        with_interval(points, ci),
        "at least −0.3",
        _answer(points >= -0.3),
    )
    worst = sections.worst_networks(rows, -2.5)
    yield (
        f"{what}none of these has an interval wholly below −2.5",
        ", ".join(worst) or "none",
        "none",
        _answer(not worst),
    )
    deep = [
        row for row in pick(rows, experiment="depth", model="gcn") if row["model.hidden"] == sections.DEEP
    ]
    gcn = of_series([row for row in deep if row["readout"] != "ideal"], sections.OPTICS)
    yield f"{what}`gcn` with 4 blocks", percent(gcn), "at least 79.5", _answer(100 * average(gcn) >= 79.5)
    frames = sections.frames_of_a_step(rows)
    yield f"{what}frames a step, default / ternary", f"{frames:.2f}", "at most 1.25", _answer(frames <= 1.25)


def _alignment(rows: Sequence[Row]) -> Iterator[Claim]:
    """Yield one line for each model: the block whose alignment is least certain."""
    for model in ("fc", "gcn"):
        settings = by_setting(pick(rows, experiment="feedback", model=model))
        blocks = [(runs, i) for runs in settings for i in hidden_blocks(runs[0])]
        if blocks:
            runs, i = min(blocks, key=lambda block: certainty(*block))
            claim = f"the hidden blocks' gradients align with the true ones: `{model}`, all {len(settings)} settings"
            measured = f"least certain: block {i}, {alignment(runs, i)}"
            yield claim, measured, "interval above 0", _answer(certainty(runs, i) > 1)


def _of_blocks() -> Iterator[Claim]:
    """Yield a line for each claim about independent blocks, from the bars that the studies have left on their page."""
    for line in BLOCKS_PAGE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] in OF_BLOCKS and len(cells) == 4:
            yield OF_BLOCKS[cells[0]], cells[1], cells[2], _answer(cells[3] == "met")


def _answer(holds: bool) -> str:
    return "yes" if holds else "**no**"
