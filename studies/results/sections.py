"""Computes what the sections of docs/results.md show; page.md.jinja has the words around it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import isnan
from typing import Any

from dfa_cli.comparison.statistics import mean
from studies.results.averages import alignment, average, percent, points_between
from studies.results.markdown import bold
from studies.results.selection import (
    KNOBS,
    NAMES,
    SERIES,
    by_setting,
    hidden_blocks,
    main_results,
    of_series,
    pick,
    with_knob_at,
)
from studies.results.table import SETTINGS, Row

BP, CPU, OPTICS, SHALLOW = SERIES
BREAKS = 2.0  # points below the defaults at which training counts as broken
RULES = {
    "bp": "backpropagation",
    "fa": "feedback alignment (Lillicrap 2016)",
    "usf": "uniform sign-concordant feedback (Moskovitz 2018)",
    "brsf": "batchwise random sign-concordant feedback (Moskovitz 2018)",
    "frsf": "fixed random sign-concordant feedback (Moskovitz 2018)",
    "dfa": "direct feedback alignment (Nøkland 2016)",
    "drtp": "direct random target projection (Frenkel 2021)",
    "shallow": "only the last block",
}

# What the template shows of a section. It is empty when the experiment was not run; the section is then left out.
Shown = dict[str, Any]


def mnist(rows: Sequence[Row]) -> Shown:
    chosen = pick(rows, experiment="mnist_fc")
    if not chosen:
        return {}
    found = {name: main_results(rows, "mnist", name) for name in SERIES}
    loss, _ = points_between(found[CPU], found[OPTICS])
    worth, _ = points_between(found[BP], found[SHALLOW])
    return {
        "epochs": chosen[0]["epochs"],
        "seeds": len(found[BP]),
        "lines": [(name, percent(some)) for name, some in found.items()],
        "loss": f"{round(loss, 1) + 0.0:.1f}",  # adding 0.0 turns -0.0 into 0.0
        "worth": f"{worth:.1f}",
    }


def mnist_width(rows: Sequence[Row]) -> Shown:
    chosen = pick(rows, experiment="mnist_width")
    lines, worth = [], []
    for width, same in _by_width(chosen):
        found = {name: of_series(same, name) for name in SERIES}
        lines.append((f"2 x {width}", *map(percent, found.values())))
        worth.append(f"{points_between(found[CPU], found[SHALLOW])[0]:.1f} at {width}")
    return {"epochs": chosen[0]["epochs"], "lines": lines, "worth": ", ".join(worth)} if chosen else {}


def citation(rows: Sequence[Row]) -> Shown:
    quoted = {"cora": "81.5", "citeseer": "70.3", "pubmed": "79.0"}
    sets = [data for data in quoted if pick(rows, experiment="citation_gcn", data=data)]
    if not sets:
        return {}
    return {
        "seeds": len(main_results(rows, sets[0], BP)),
        "has_pubmed": "pubmed" in sets,
        "lines": [
            (NAMES[data], *(percent(main_results(rows, data, name)) for name in SERIES), quoted[data])
            for data in sets
        ],
    }


def one_recipe(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return the headline table for the runs in which every rule has the same recipe, beside the tuned values."""
    lines = []
    for data, experiment in (
        ("mnist", "mnist_one_recipe"),
        ("cora", "citation_one_recipe"),
        ("citeseer", "citation_one_recipe"),
    ):
        chosen = pick(rows, experiment=experiment, data=data)
        found = {name: of_series(chosen, name) for name in SERIES}
        if all(found.values()):
            seeds = min(map(len, found.values()))
            lines.append((NAMES[data], *map(percent, found.values()), str(seeds)))
    return lines


def shallow(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    return [
        (width, *(percent(of_series(same, name)) for name in (BP, CPU, SHALLOW)))
        for width, same in _by_width(pick(rows, experiment="shallow_width"))
    ]


def architectures(rows: Sequence[Row]) -> Shown:
    chosen = pick(rows, experiment="architectures")
    if not chosen:
        return {}
    lines, broken, moved = [], [], []
    for model, blocks, hidden in _depths(chosen):
        same = pick(chosen, model=model, **hidden)
        found = [of_series(same, name) for name in (BP, CPU, OPTICS)]
        behind, optical = (round(points_between(after, before)[0], 1) for before, after in pairwise(found))
        lines.append((f"`{model}`", blocks, *map(percent, found), f"{behind:+.1f}", f"{optical:+.1f}"))
        if not behind >= -5:  # also true for NaN, which stands where all runs of a setting failed
            broken.append(f"`{model}` with {blocks} blocks")
        if not isnan(optical):
            moved.append(optical)
    least, most, average_move = (f"{of(moved or [0.0]):+.1f}" for of in (min, max, mean))
    return {"lines": lines, "broken": broken, "least": least, "most": most, "mean": average_move}


def encoding(rows: Sequence[Row]) -> Shown:
    chosen, known = pick(rows, experiment="encoding"), pick(rows, experiment="architectures", rule="dfa")
    if not (chosen and known):
        return {}
    planes = pick(chosen, encoding="bitplanes")
    columns = {
        "`cpu`": pick(known, device="cpu"),
        "ternary, no noise": pick(chosen, encoding="ternary"),
        "ternary": pick(known, device="opu_sim"),
        **{f"{n} bits": pick(planes, **{"device.encoding.bits": n}) for n in ("2", "4")},
    }
    lines = []
    behind: dict[str, list[float]] = {name: [] for name in columns}
    for model, blocks, hidden in _depths(chosen):
        cells = {name: pick(some, model=model, **hidden) for name, some in columns.items()}
        for name, some in cells.items():
            behind[name].append(points_between(some, cells["`cpu`"])[0])
        lines.append((f"`{model}`", blocks, *map(percent, cells.values())))
    del behind["`cpu`"]
    words = (f"{name} {mean(by):+.1f}, {min(by):+.1f} at worst" for name, by in behind.items())
    return {"columns": [*columns], "lines": lines, "behind": "; ".join(words)}


def noise(rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    """Return for each parameter its name, its settings, the table of accuracies, and where training broke."""
    chosen = pick(rows, experiment="noise")
    knobs = []
    for knob, (name, usual) in KNOBS.items():
        values = sorted({row[knob] for row in chosen}, key=float)
        lines, broken = [], []
        for data in ("cora", "mnist"):
            found = {value: with_knob_at(chosen, data, knob, value) for value in values}
            lines.append((NAMES[data], *map(percent, found.values())))
            base = average(found.get(usual, []))
            at = [value for value, some in found.items() if 100 * (base - average(some)) > BREAKS]
            broken.append(f"{NAMES[data]} at {_join_with_and(at) if at else 'none of these'}")
        knobs.append((name, bold(values, usual), lines, ", ".join(broken)))
    return knobs if chosen else []


def feedback(rows: Sequence[Row]) -> dict[str, Shown]:
    """One table for each model: on graphs with the depth and `rule.spread_over_edges`."""
    chosen = pick(rows, experiment="feedback")
    if not chosen:
        return {}
    shown = {}
    for model in ("gcn", "fc"):
        groups = by_setting(pick(chosen, model=model))
        lines = []
        for group in groups:
            one = group[0]
            read = "one matrix" if one["rule.share_columns"] == "True" else "a slice each"
            line = [one["device.distribution"], read]
            if model == "gcn":
                line = [
                    one["model.hidden"],
                    *line,
                    "yes" if one["rule.spread_over_edges"] == "True" else "no",
                ]
            line.append(percent(group))
            for kind in ("alignment", "matrix_alignment"):
                line.append(" · ".join(alignment(group, i, kind) for i in hidden_blocks(one)))
            lines.append(line)
        seeds = [len(group) for group in groups]
        shown[model] = {"seeds": " to ".join(map(str, sorted({min(seeds), max(seeds)}))), "lines": lines}
    return shown


def rules(rows: Sequence[Row]) -> Shown:
    chosen = pick(rows, experiment="rules")
    if not chosen:
        return {}
    lines, above = [], []
    floor = average(pick(chosen, rule="shallow", data="cora"))
    for rule, words in RULES.items():
        fc, gcn = (pick(chosen, rule=rule, data=data) for data in ("mnist", "cora"))
        lines.append((f"`{rule}`", words, percent(fc), percent(gcn)))
        if 100 * (average(gcn) - floor) > BREAKS:
            above.append(f"`{rule}`")
    return {"lines": lines, "above": above}


def fairness(rows: Sequence[Row]) -> Shown:
    lines, common = [], []
    keys = [
        key
        for key in SETTINGS
        if not key.startswith("device.") and key not in ("rule.share_columns", "model.hidden")
    ]
    for experiment, model, data in (
        ("mnist_fc", "fc", "mnist"),
        ("rules", "fc", "mnist"),
        ("rules", "gcn", "cora"),
        ("citation_gcn", "gcn", "citeseer"),
        ("citation_gcn", "gcn", "pubmed"),
        *(("architectures", model, "cora") for model in ("fc", "gat", "cheb", "sage")),
    ):
        chosen = pick(rows, experiment=experiment, model=model, data=data)
        if not chosen:
            continue
        # An empty cell counts as a value: it means that the rule does not have the key.
        differing = [key for key in keys if len({row[key] for row in chosen}) > 1 or key == "optimizer.lr"]
        where = NAMES[data] + (", family of rules" if (experiment, data) == ("rules", "mnist") else "")
        same = (f"{key} {chosen[0][key]}" for key in keys if key not in differing and chosen[0][key])
        common.append((f"`{model}` on {where}", ", ".join(same)))
        for rule in RULES:
            for row in pick(chosen, rule=rule)[:1]:
                values = (f"{key} {row[key]}" for key in differing if row[key])
                lines.append((f"`{model}`, {where}", f"`{rule}`", ", ".join(values)))
    return {"lines": lines, "common": common} if lines else {}


def origin(rows: Sequence[Row]) -> Shown:
    def with_counts(column: str) -> str:
        counts = Counter(row[column].strip() for row in rows)
        return "; ".join(f"{words} ({count} lines)" for words, count in counts.most_common())

    return {
        "lines": len(rows),
        "runs": len({row["identity"] for row in rows}),
        "failed": len(pick(rows, status="failed")),
        "changed": len(pick(rows, dirty="True")),
        **{column: with_counts(column) for column in ("commit", "torch", "python", "dfa", "processor")},
    }


def _by_width(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    """Yield each width of the first hidden block with its rows."""
    for width in sorted({row["model.hidden"].split()[0] for row in rows}, key=int):
        yield width, [row for row in rows if row["model.hidden"].split()[0] == width]


def _depths(rows: Sequence[Row]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield each model, its number of blocks (the last one included), and the setting that makes them."""
    for model in ("fc", "gcn", "gat", "cheb", "sage"):
        for hidden in sorted({row["model.hidden"] for row in pick(rows, model=model)}, key=len):
            yield model, str(1 + len(hidden.split())), {"model.hidden": hidden}


def _join_with_and(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else ", ".join(values[:-1]) + " and " + values[-1]
