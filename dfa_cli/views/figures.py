"""The figures of the page, and which rows of a large comparison they show."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

from dfa_cli.comparison.comparison import Comparison
from dfa_cli.comparison.group import Group
from dfa_cli.console.values import format_value
from dfa_cli.errors import DfaError

MOST_KEYS = 4  # figures of the metric against a key
MOST_DRAWN = 20  # rows or lines in a figure


@dataclass(frozen=True)
class Drawing:
    """A figure of the page. `words`: what it shows. `about`: which rows, if not all. `picture`: SVG in base 64."""

    words: str
    about: str
    picture: str = field(repr=False)


def figures(result: Comparison, draw_all: bool = False) -> list[Drawing]:
    """Draws bars, learning curves, and the metric against each numeric key.

    Each figure shows at most `MOST_DRAWN` rows unless `draw_all` is set. A figure for which nothing was measured is
    left out.
    """
    from dfa_cli.plots.against_key import draw_against
    from dfa_cli.plots.bars import draw_bars
    from dfa_cli.plots.curves import draw_curves
    from dfa_cli.plots.panels import Arrangement
    from dfa_cli.plots.style import place, save

    most = len(result.groups) if draw_all else MOST_DRAWN
    metric = result.metric
    rows = [[group] for group in result.groups]
    wanted: list[tuple[str, Any, list[list[Group]], str]] = [
        (f"Bars of {metric.words}", draw_bars, rows, "rows"),
        (
            "Validation accuracy over epochs",
            lambda some: draw_curves(some, "validation_accuracy"),
            rows,
            "rows",
        ),
    ]
    numeric = [
        key
        for key in result.columns
        if len({value for group in result.groups if (value := place(group.key[key])) is not None}) > 1
    ]
    for key in numeric[:MOST_KEYS]:
        arranged = Arrangement(result, key)
        lines: dict[tuple[str, str], list[Group]] = {}
        for group in result.groups:
            lines.setdefault((arranged.label(group), group.data), []).append(group)

        def draw(some: Comparison, key: str = key) -> Any:
            return draw_against(some, key)

        wanted.append((f"{metric.words} against {key}", draw, list(lines.values()), "lines"))
    drawn = []
    for words, draw, lines_of_rows, noun in wanted:
        groups, about = choose(result, lines_of_rows, most, noun)
        try:
            picture = save(draw(_only(result, groups)), ".svg")
        except DfaError:
            continue
        drawn.append(Drawing(words, about, base64.b64encode(picture).decode()))
    return drawn


def choose(result: Comparison, lines: Sequence[list[Group]], most: int, noun: str) -> tuple[list[Group], str]:
    """Returns the rows of at most `most` lines, in the order of the table, and says which lines these are.

    They are the best ones of each data set, and its best baseline. All rows of a line are drawn.
    """
    metric = result.metric
    pick = max if metric.up else min
    levels = [pick(means) if (means := _means(line)) else None for line in lines]
    measured = [i for i, level in enumerate(levels) if level is not None]
    if len(measured) <= most:
        return result.groups, ""
    ranked = sorted(measured, key=lambda i: levels[i] or 0.0, reverse=metric.up)
    by_data: dict[str, list[int]] = {}
    for i in ranked:
        by_data.setdefault(lines[i][0].data, []).append(i)
    in_turn = [i for rank in zip_longest(*by_data.values()) for i in rank if i is not None]
    base = [i for i in in_turn if any(group.is_baseline for group in lines[i])][: len(by_data)]
    chosen = {*[*base, *(i for i in in_turn if i not in base)][:most]}
    kept = {id(group) for i in chosen for group in lines[i]}
    each = " of each data set" if len(by_data) > 1 else ""
    with_base = ", and the best baseline" if base else ""
    return [group for group in result.groups if id(group) in kept], (
        f"{len(chosen)} of {len(measured)} {noun}: those with the {'highest' if metric.up else 'lowest'} "
        f"{metric.words}{each}{with_base}"
    )


def _means(line: Sequence[Group]) -> list[float]:
    return [mean for group in line if (mean := group.mean) is not None]


def _only(result: Comparison, groups: list[Group]) -> Comparison:
    """Makes a comparison of some rows. A column with one value in all of them becomes a constant."""
    if len(groups) == len(result.groups):
        return result
    fixed = {
        key: groups[0].key[key]
        for key in result.columns
        if len({format_value(group.key[key]) for group in groups}) == 1
    }
    columns = [key for key in result.columns if key not in fixed]
    return replace(result, groups=groups, columns=columns, constant={**fixed, **result.constant})
