"""Measures a training step in two processes, by rule and schedule, and writes the table of docs/independent-blocks.md.

    .venv/bin/python -m studies.parallel                  everything; about 20 minutes on a quiet Xeon with two cores
    .venv/bin/python -m studies.parallel --small --no-page   a small network and few rounds, to try the program

First every contender is measured in some rounds: each rule with all its schedules, micro-batches and splits. The
fastest of each are then measured again in other rounds, in turns. Only these are reported. A figure is the median of
the rounds, with the fastest and the slowest beside it. A ratio is the median of the ratios of each round, with their
quartiles.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

from dfa_cli.machine.files import write_atomically
from studies.parallel.pair import PROCESSES, Contender, Measured, Network, measure_all
from studies.performance.page import ROOT, Section, conditions, machine

PAGE = ROOT / "docs" / "independent-blocks.md"
MARK = "<!-- studies.parallel -->"
MICRO_BATCHES = (1, 2, 4, 8, 16)
ONE_CHUNK = ("local", "central", "gpipe", "1f1b", "zero-bubble")
MOST = 0.75  # of bp's step
TWO_CHUNKS = ("interleaved", "zbv")


def splits(blocks: int, chunks: int) -> list[tuple[int, ...]]:
    """Return the even split, and those in which the first process has one block more or less."""
    even = [blocks * (i + 1) // chunks - blocks * i // chunks for i in range(chunks)]
    found = [tuple(even)]
    for more in (1, -1):
        moved = [even[0] + more, *even[1:-1], even[-1] - more]
        if min(moved) > 0:
            found.append(tuple(moved))
    return found


def contenders(network: Network) -> list[Contender]:
    found = []
    for schedule in (*ONE_CHUNK, *TWO_CHUNKS):
        chunks = PROCESSES * (2 if schedule in TWO_CHUNKS else 1)
        rule = "dfa" if schedule in ("local", "central") else "bp"
        for parts in MICRO_BATCHES:
            if schedule not in ("local", "central", "gpipe") and parts < PROCESSES:
                continue  # torch asks for as many micro-batches as processes
            found += [Contender(rule, schedule, parts, split) for split in splits(network.blocks, chunks)]
    return found


def middle(rounds: Sequence[Measured]) -> float:
    return statistics.median(one.seconds for one in rounds)


def ratios(mine: Sequence[Measured], against: Sequence[Measured]) -> list[float]:
    """Return the ratio of each round."""
    return [a.seconds / b.seconds for a, b in zip(mine, against, strict=True)]


def report(network: Network, choosing: int, rounds: int, steps: int) -> Section:
    every = contenders(network)
    tried = measure_all(network, every, choosing, steps)
    by_time = sorted(range(len(every)), key=lambda place: middle(tried[place]))

    def fastest(*schedules: str) -> Contender:
        return next(every[place] for place in by_time if every[place].schedule in schedules)

    schedules = ("local", "central", "gpipe", "1f1b", "interleaved", "zero-bubble", "zbv")
    chosen = [fastest(schedule) for schedule in schedules]
    dfa, bp = fastest("local"), fastest(*schedules[2:])
    same_split = Contender("bp", "1f1b", max(PROCESSES, dfa.micro_batches), dfa.split)
    reported = list(dict.fromkeys([*chosen, same_split, Contender("dfa"), Contender("bp")]))
    found = dict(zip(reported, measure_all(network, reported, rounds, steps), strict=True))

    section = Section("", "")
    section.text(
        f"{network.blocks} blocks {network.width} wide, batches of {network.rows} rows, two processes with one thread "
        f"each. Chosen among {len(every)} in {choosing} rounds, measured in {rounds} others."
    )
    rows = []
    for contender, measured in found.items():
        times = [1e3 * one.seconds for one in measured]
        sent = measured[0].sent
        rows.append(
            [
                str(contender),
                f"{statistics.median(times):.0f}",
                f"{min(times):.0f} to {max(times):.0f}",
                *(
                    f"{sent[kind] / 1e6:.3f}" if contender.schedule else ""
                    for kind in ("forward", "backward", "projection")
                ),
            ]
        )
    section.table(
        ("", "ms a step", "fastest to slowest", "forward, MB", "backward or error, MB", "feedback, MB"), rows
    )
    first, half, last = statistics.quantiles(ratios(found[dfa], found[bp]), n=4, method="inclusive")
    figure = f"{half:.2f} [{first:.2f}, {last:.2f}]"
    section.bars.append(("dfa's step / bp's best", figure, f"at most {MOST}", half <= MOST))
    ours, theirs = found[dfa][0].sent, found[same_split][0].sent
    travelling = ("forward", "backward", "projection")
    section.at_least(
        "backward bytes: 1F1B with the same split / dfa", theirs["backward"] / ours["backward"], 90
    )
    section.at_least(
        "all bytes: 1F1B with the same split / dfa",
        sum(theirs[kind] for kind in travelling) / sum(ours[kind] for kind in travelling),
        1.9,
    )
    for rule, best in (("dfa", dfa), ("bp", bp)):
        speed_up = statistics.median(ratios(found[Contender(rule)], found[best]))
        section.text(f"Two processes against one, {rule}: {speed_up:.2f} times as fast ({best}).")
    return section


def put_between(mark: str, section: Section, page: Path = PAGE) -> None:
    """Put the tables between the two marks."""
    lines = [f"**{machine()}**", "", *section.body]
    if section.bars:
        rows = [(what, got, bar, "met" if met else "**not met**") for what, got, bar, met in section.bars]
        bars = Section("", "")
        bars.table(("target", "measured", "must be", ""), rows)
        lines += bars.body
    before, _, after = page.read_text("utf-8").split(mark)
    text = "\n".join([*lines, conditions()])
    write_atomically(page, "\n\n".join([before.rstrip() + "\n\n" + mark, text, mark + after]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--choosing", type=int, default=3, help="rounds in which the fastest are chosen (3)")
    parser.add_argument("--rounds", type=int, default=9, help="rounds that are reported (9)")
    parser.add_argument("--steps", type=int, default=5, help="steps in a row of one measurement (5)")
    parser.add_argument("--small", action="store_true", help="a small network, to try the program")
    parser.add_argument("--no-page", action="store_true", help="only print the table")
    options = parser.parse_args()
    if min(options.choosing, options.rounds - 1, options.steps) < 1:
        parser.error("--rounds must be at least 2, --choosing and --steps at least 1")
    network = Network(width=64, rows=128) if options.small else Network()
    section = report(network, options.choosing, options.rounds, options.steps)
    print("\n".join([*section.body, *map(str, section.bars)]), flush=True)
    if not options.no_page:
        put_between(MARK, section)


if __name__ == "__main__":
    main()
