"""Chooses the encoding that opu_sim has by default, on the validation accuracy of the search tuning_encoding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dfa_cli.comparison.statistics import interval, mean
from studies.results.averages import average, numbers, with_interval
from studies.results.selection import pick
from studies.results.table import Row

FRAMES = 1.25  # an encoding may take so many times the frames that ternary errors take in a step
SUM_REMOVED = ", sum removed"
COLUMNS = ("validation", "validation_at_last_epoch")


class Candidate(NamedTuple):
    """An encoding with what the search measured: means over networks, depths and seeds.

    `best`, `last`: validation accuracy at the best epoch and at the last one, in per cent. `less_exact`: the mean of
    the two less that of exact errors on `cpu`, in points, with its 95 % interval over the seeds. `frames`: in a step,
    as a multiple of those of ternary errors.
    """

    name: str
    best: float
    last: float
    less_exact: tuple[float, tuple[float, float] | None]
    frames: float

    @property
    def score(self) -> float:
        return (self.best + self.last) / 2


def candidates(rows: Sequence[Row]) -> list[Candidate]:
    """Return every encoding of the search."""
    chosen = pick(rows, experiment="tuning_encoding", device="opu_sim")
    arms: dict[str, list[Row]] = {}
    for row in chosen:
        name = row["encoding"] + (SUM_REMOVED if row["device.remove_sum"] == "True" else "")
        arms.setdefault(name, []).append(row)
    exact = pick(rows, experiment="tuning_encoding", device="cpu")
    networks = list(dict.fromkeys(map(_network, chosen)))

    def over_networks(some: Sequence[Row], column: str) -> float:
        return mean([average([row for row in some if _network(row) == one], column) for one in networks])

    def less_exact(some: Sequence[Row]) -> tuple[float, tuple[float, float] | None]:
        seeds = list(dict.fromkeys(row["seed"] for row in some))
        means = []
        for seed in seeds:
            mine, theirs = pick(some, seed=seed), pick(exact, seed=seed)
            means.append(mean([100 * (over_networks(mine, c) - over_networks(theirs, c)) for c in COLUMNS]))
        return mean(means), interval(means)

    def frames(some: Sequence[Row]) -> float:
        """Return the frames of a step, averaged over the networks as multiples of those of ternary errors."""
        ratios = []
        for one in networks:
            mine, theirs = (
                mean([float(row["frames"]) / float(row["last_epoch"]) for row in arm if _network(row) == one])
                for arm in (some, arms["ternary"])
            )
            ratios.append(mine / theirs)
        return mean(ratios)

    return [
        Candidate(
            name,
            100 * over_networks(some, COLUMNS[0]),
            100 * over_networks(some, COLUMNS[1]),
            less_exact(some) if exact else (float("nan"), None),
            frames(some),
        )
        for name, some in arms.items()
    ]


def chosen(rows: Sequence[Row]) -> Candidate | None:
    """Return the chosen candidate, or `None` where nothing was searched.

    Among the candidates within FRAMES, those that lie in the interval of the best one are as good. An encoding alone is
    chosen before one with a measured correction, which would have to follow a medium that drifts. Then the one with the
    fewest frames is chosen.
    """
    within = [one for one in candidates(rows) if one.frames <= FRAMES]
    if not within:
        return None
    best = max(within, key=lambda one: one.score)
    _, ends = best.less_exact
    as_good = [one for one in within if ends and one.less_exact[0] >= ends[0]]
    return min(as_good or [best], key=lambda one: (SUM_REMOVED in one.name, one.frames))


def lines(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return the lines of the table of docs/tuning.md, the chosen one in bold."""
    best = chosen(rows)
    shown = []
    for one in sorted(candidates(rows), key=lambda one: -one.score):
        cells = (f"{one.best:.1f}", f"{one.last:.1f}", with_interval(*one.less_exact), f"{one.frames:.2f}")
        name = f"`{one.name.partition(',')[0]}`{''.join(one.name.partition(',')[1:])}"
        shown.append((f"**{name}**" if one == best else name, *cells))
    exact = pick(rows, experiment="tuning_encoding", device="cpu")
    if exact:
        networks = list(dict.fromkeys(map(_network, exact)))
        cells = [
            f"{100 * mean([mean(numbers([r for r in exact if _network(r) == one], c)) for one in networks]):.1f}"
            for c in COLUMNS
        ]
        shown.append(("exact errors, `cpu`", *cells, "", ""))
    return shown


def _network(row: Row) -> tuple[str, str, str]:
    return row["model"], row["data"], row["model.hidden"]
