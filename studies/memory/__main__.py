"""Measures memory and time of a training step against depth, and writes the tables and the picture of
docs/independent-blocks.md.

    .venv/bin/python -m studies.memory                      everything; half an hour on a quiet Xeon with two cores
    .venv/bin/python -m studies.memory depth                only the table against depth, and the picture
    .venv/bin/python -m studies.memory time --rounds 7      only the times, with seven rounds

Each measurement is a process of its own with one thread. In each round the contenders take turns. A time is the median
of the rounds, and a ratio is the median of the ratios of each round.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from dfa_cli.machine.files import write_atomically
from studies.memory.step import Measured, Setting, measure
from studies.performance.page import ROOT, Section, conditions, machine

PAGE = ROOT / "docs" / "independent-blocks.md"
PICTURE = ROOT / "docs" / "images" / "memory_against_depth.svg"
MARK = "<!-- studies.memory: {} -->"
CONTENDERS = {
    "bp": ("bp", "keep"),
    "bp, recompute": ("bp", "recompute"),
    "dfa": ("dfa", "keep"),
    "dfa, recompute": ("dfa", "recompute"),
}
DEPTHS = (8, 16, 32, 64, 128, 256)
LIMIT = 2e9  # bytes, for the deepest network
Results = dict[str, list[Measured]]


def setting(name: str, blocks: int, **more: object) -> Setting:
    rule, activations = CONTENDERS[name]
    return replace(Setting(rule, activations, blocks), **more)  # type: ignore[arg-type]


def alternated(blocks: int, rounds: int, **more: object) -> Results:
    found: Results = {name: [] for name in CONTENDERS}
    for _ in range(rounds):
        for name in CONTENDERS:
            found[name].append(measure(setting(name, blocks, **more)))
    return found


def peak(found: Results, name: str) -> float:
    """Return the median of the peaks of the rounds, in bytes. The kernel's large pages change single peaks by 2 MB."""
    return statistics.median(measured.peak for measured in found[name])


def fastest(measured: Measured) -> float:
    return min(measured.seconds)


def time_ratio(found: Results, name: str, against: str) -> float:
    pairs = zip(found[name], found[against], strict=True)
    return statistics.median(fastest(mine) / fastest(its) for mine, its in pairs)


def depth(rounds: int) -> Section:
    section = Section("", "")
    by_depth = {blocks: alternated(blocks, rounds) for blocks in DEPTHS}
    rows = []
    for blocks, found in by_depth.items():
        megabytes = [f"{peak(found, name) / 1e6:.0f}" for name in CONTENDERS]
        seconds = [f"{statistics.median(map(fastest, found[name])):.2f}" for name in CONTENDERS]
        rows.append([str(blocks), *megabytes, *seconds])
    names = list(CONTENDERS)
    section.table(
        ("hidden blocks", *(f"{name}, MB" for name in names), *(f"{name}, s" for name in names)), rows
    )
    activation = Setting("bp", "keep", 1)
    size = 4 * activation.rows * activation.width
    peaks = [peak(by_depth[blocks], "dfa, recompute") for blocks in (8, 64, 256)]
    section.at_most("dfa, recompute: activations held", max(peaks) / size, 5, "")
    section.at_most(
        "the same for 8, 64 and 256 blocks, largest / smallest", max(peaks) / min(peaks), 1.05, ""
    )
    deepest = by_depth[256]
    mine = peak(deepest, "dfa, recompute")
    section.at_least("256 blocks: bp / dfa, recompute", peak(deepest, "bp") / mine, 50)
    section.at_least("256 blocks: bp, recompute / dfa, recompute", peak(deepest, "bp, recompute") / mine, 6)
    section.at_most("32 blocks: dfa / bp", peak(by_depth[32], "dfa") / peak(by_depth[32], "bp"), 1.02, "")
    dropped = {name: [measure(setting(name, 32, dropout=0.2))] for name in ("bp", "dfa")}
    section.at_most("the same with dropout 0.2", peak(dropped, "dfa") / peak(dropped, "bp"), 0.72, "")
    draw({name: [peak(by_depth[blocks], name) for blocks in DEPTHS] for name in CONTENDERS})
    return section


def times(rounds: int) -> Section:
    section = Section("", "")
    cases = {
        "32 blocks of 256, batch 8192": ({}, 32, 1.25, 1.55),
        "32 blocks of 256, batch 8192, dropout 0.2": ({"dropout": 0.2}, 32, 1.30, 1.85),
        "16 blocks of 1024, batch 2048": ({"width": 1024, "rows": 2048}, 16, 1.15, 1.55),
    }
    rows = []
    for case, (more, blocks, against_bp, against_keep) in cases.items():
        found = alternated(blocks, rounds, steps=3, **more)
        kept = {
            name: [measure(setting(name, blocks, steps=3, keeps_freed=True, **more)) for _ in range(rounds)]
            for name in ("bp", "dfa")
        }
        for name in CONTENDERS:
            times_of = [fastest(one) for one in found[name]]
            in_runs = kept.get(name, found[name])
            rows.append(
                [
                    case,
                    name,
                    f"{statistics.median(times_of):.2f}",
                    f"{min(times_of):.2f} to {max(times_of):.2f}",
                    f"{peak(found, name) / 1e6:.0f}",
                    f"{statistics.median(map(fastest, in_runs)):.2f}",
                    f"{statistics.median(one.peak for one in in_runs) / 1e6:.0f}",
                ]
            )
        mine = "dfa, recompute"
        section.at_most(f"{case}: {mine} / bp, recompute", time_ratio(found, mine, "bp, recompute"), 0.92, "")
        section.at_most(f"{case}: {mine} / bp", time_ratio(found, mine, "bp"), against_bp, "")
        section.at_most(f"{case}: {mine} / dfa", time_ratio(found, mine, "dfa"), against_keep, "")
    section.table(
        ("network", "", "s a step", "fastest to slowest", "MB", "s, as in a run", "MB, as in a run"), rows
    )
    return section


def deepest(_: int) -> Section:
    """Find the deepest network whose training, with Adam, fits in `LIMIT`."""
    section = Section("", "")
    found = {name: deepest_of(name) for name in ("bp", "bp, recompute", "dfa, recompute")}
    section.table(
        ("", "hidden blocks", "MB measured"),
        [[name, str(blocks), f"{taken / 1e6:.0f}"] for name, (blocks, taken) in found.items()],
    )
    mine = found["dfa, recompute"][0]
    section.at_least("dfa, recompute: times as deep as bp", mine / found["bp"][0], 8)
    section.at_least("dfa, recompute: times as deep as bp, recompute", mine / found["bp, recompute"][0], 1.3)
    return section


def deepest_of(name: str) -> tuple[int, int]:
    """Return a depth that fits, and its bytes. A depth 2 % larger does not fit, or the bytes are within 2 % of it."""

    def taken(blocks: int) -> int:
        return measure(setting(name, blocks, whole=True)).peak

    known = {blocks: taken(blocks) for blocks in (64, 128)}
    while True:
        (a, b) = sorted(known, key=lambda blocks: abs(known[blocks] - LIMIT))[:2]
        guess = int(a + (0.995 * LIMIT - known[a]) * (b - a) / (known[b] - known[a]))
        best = max((blocks for blocks in known if known[blocks] <= LIMIT), default=0)
        if guess in known or (best and known[best] > 0.98 * LIMIT):
            return best, known[best]
        known[guess] = taken(guess)


def draw(peaks: dict[str, list[float]]) -> None:
    """Draw memory against depth."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullLocator

    from dfa_cli.plots.style import Look, dress, finish, line_look, save

    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axis = figure.subplots()
    for i, (name, values) in enumerate(peaks.items()):
        axis.plot(
            DEPTHS,
            [value / 1e6 for value in values],
            label=name,
            **line_look(i),
        )
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    for ticks in (axis.xaxis, axis.yaxis):
        ticks.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ticks.set_minor_locator(NullLocator())
    axis.set_xticks(DEPTHS)
    axis.set_yticks([20, 50, 100, 200, 500, 1000, 2000])
    dress(axis, "", "hidden blocks", "memory of a step (MB)")
    note = "fully connected, 256 wide, batches of 8192 rows, float32, without dropout"
    finish(figure, [axis], Look(), note)
    write_atomically(PICTURE, save(figure, PICTURE.suffix))


PARTS: dict[str, Callable[[int], Section]] = {"depth": depth, "time": times, "deepest": deepest}


def write(name: str, section: Section, page: Path = PAGE) -> None:
    """Put the tables between the two marks of this part."""
    lines = [f"**{machine()}**", "", *section.body]
    if section.bars:
        rows = [(what, got, bar, "met" if met else "**not met**") for what, got, bar, met in section.bars]
        bars = Section("", "")
        bars.table(("target", "measured", "must be", ""), rows)
        lines += bars.body
    mark = MARK.format(name)
    before, _, after = page.read_text("utf-8").split(mark)
    write_atomically(page, "\n\n".join([before + mark, "\n".join([*lines, conditions()]), mark + after]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS) + " (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each program is measured (5)")
    options = parser.parse_args()
    if unknown := [part for part in options.parts if part not in PARTS]:
        parser.error(f"no such part: {', '.join(unknown)}; choose from {', '.join(PARTS)}")
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}; it must be at least 1")
    for name in options.parts or PARTS:
        section = PARTS[name](options.rounds)
        print("\n".join([*section.body, *map(str, section.bars)]), flush=True)
        write(name, section)


if __name__ == "__main__":
    main()
