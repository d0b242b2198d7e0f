"""Computes what the sections of docs/results.md show; page.md.jinja has the words around it."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from dfa_cli.comparison.statistics import interval, mean
from studies.results import depth_choice
from studies.results.averages import (
    alignment,
    average,
    by_seed,
    difference,
    percent,
    points_between,
    with_interval,
)
from studies.results.markdown import bold
from studies.results.selection import (
    DEFAULT,
    KNOBS,
    NAMES,
    SERIES,
    TERNARY,
    by_setting,
    hidden_blocks,
    main_results,
    of_series,
    pick,
    settings,
    with_knob_at,
)
from studies.results.table import SETTINGS, Row

BP, CPU, OPTICS, SHALLOW = SERIES
WITH_TERNARY = (BP, CPU, OPTICS, TERNARY, SHALLOW)
LAST = "test_at_last_epoch"
DOCS = Path(__file__).resolve().parents[2] / "docs"
# How the error reaches the mirrors in the causal test, without any noise and with one feedback matrix for each seed.
ARMS = {
    "exact": {"experiment": "depth", "encoding": "float"},
    "exact and the mean row": {"experiment": "depth_mean_row"},
    "ternary": {"experiment": "depth", "encoding": "ternary", "device.remove_sum": "False"},
    "ternary, sum removed": {"experiment": "depth", "encoding": "ternary", "device.remove_sum": "True"},
    "two scales": {"experiment": "depth", "encoding": "two_scales"},
    "dithered": {"experiment": "depth", "encoding": "dithered"},
}
DEEP = "64 64 64"  # the hidden blocks of the network of four blocks in experiment=noise
TRAINS = 45  # per cent; the largest class of Cora's test set has 31.9
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
    found = {name: main_results(rows, "mnist", name) for name in WITH_TERNARY}
    loss, _ = points_between(found[CPU], found[OPTICS])
    worth, _ = points_between(found[BP], found[SHALLOW])
    return {
        "epochs": chosen[0]["epochs"],
        "seeds": len(found[BP]),
        "lines": [(name, percent(some), percent(some, LAST)) for name, some in found.items() if some],
        "differences": _differences(found),
        "loss": f"{round(loss, 1) + 0.0:.1f}",  # adding 0.0 turns -0.0 into 0.0
        "worth": f"{worth:.1f}",
    }


def mnist_width(rows: Sequence[Row]) -> Shown:
    chosen = pick(rows, experiment="mnist_width")
    names = [name for name in SERIES if of_series(chosen, name)]
    lines, worth = [], []
    for width, same in _by_width(chosen):
        found = {name: of_series(same, name) for name in names}
        lines.append((f"2 x {width}", *map(percent, found.values())))
        worth.append(f"{points_between(found[CPU], found[SHALLOW])[0]:.1f} at {width}")
    if not chosen:
        return {}
    return {
        "epochs": chosen[0]["epochs"],
        "seeds": _seeds(chosen),
        "series": names,
        "lines": lines,
        "worth": ", ".join(worth),
    }


def citation(rows: Sequence[Row]) -> Shown:
    quoted = {"cora": "81.5", "citeseer": "70.3", "pubmed": "79.0"}
    sets = [data for data in quoted if pick(rows, experiment="citation_gcn", data=data)]
    if not sets:
        return {}
    return {
        "seeds": len(main_results(rows, sets[0], BP)),
        "has_pubmed": "pubmed" in sets,
        "lines": [
            (NAMES[data], *(percent(main_results(rows, data, name)) for name in WITH_TERNARY), quoted[data])
            for data in sets
        ],
        "last": [
            (NAMES[data], *(percent(main_results(rows, data, name), LAST) for name in WITH_TERNARY), "")
            for data in sets
        ],
        "differences": [
            (NAMES[data], *cells)
            for data in sets
            for cells in _differences({name: main_results(rows, data, name) for name in WITH_TERNARY})
        ],
    }


def splits(rows: Sequence[Row]) -> Shown:
    chosen = pick(rows, experiment="citation_splits")
    lines, differences = [], []
    for data in ("cora", "citeseer"):
        found = {name: of_series(pick(chosen, data=data), name) for name in WITH_TERNARY}
        lines.append((NAMES[data], *map(percent, found.values())))
        differences += [(NAMES[data], *cells) for cells in _differences(found)]
    return {"seeds": _seeds(chosen), "lines": lines, "differences": differences} if chosen else {}


def _differences(found: dict[str, list[Row]]) -> list[tuple[str, ...]]:
    """Return a line for each pair of series that a reader compares: at the best epoch, and at the last one."""
    return [
        (f"{one} − {other}", *(difference(found[one], found[other], c, with_p=True) for c in ("test", LAST)))
        for one, other in ((CPU, BP), (OPTICS, BP), (OPTICS, CPU), (TERNARY, CPU))
        if found[one] and found[other] and not (one == TERNARY and DEFAULT == "`ternary`")
    ]


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
    lines, broken = [], []
    for model, blocks, hidden in _depths(chosen):
        same = pick(chosen, model=model, **hidden)
        bp, cpu, optics = (of_series(same, name) for name in (BP, CPU, OPTICS))
        cells = (percent(some) for some in (bp, cpu, optics))
        lines.append((f"`{model}`", blocks, *cells, difference(cpu, bp), difference(optics, bp)))
        if not points_between(cpu, bp)[0] >= -5:  # also true for NaN, where all runs of a setting failed
            broken.append(f"`{model}` with {blocks} blocks")
    return {"lines": lines, "broken": broken, "seeds": _seeds(chosen)}


def depth(rows: Sequence[Row]) -> Shown:
    """Compare the devices in every network and depth, and hold the result to its bars."""
    settings = list(_trained(rows))
    if not settings:
        return {}
    lines = []
    for model, blocks, found in settings:
        cpu, optics, ternary = (found[name] for name in (CPU, OPTICS, TERNARY))
        lines.append(
            (
                f"`{model}`",
                blocks,
                *(percent(some) for some in (cpu, optics, ternary)),
                difference(optics, cpu),
                difference(optics, cpu, LAST),
                difference(ternary, cpu),
                f"{_frames(optics) / (_frames(ternary) or 1):.2f}",
            )
        )
    return {
        "lines": lines,
        "seeds": _seeds(settings[0][2][OPTICS]),
        "mean": with_interval(*mean_over_networks(rows, OPTICS)),
        "last": with_interval(*mean_over_networks(rows, OPTICS, LAST)),
        "ternary": with_interval(*mean_over_networks(rows, TERNARY)),
    }


def mean_over_networks(
    rows: Sequence[Row], name: str, column: str = "test"
) -> tuple[float, tuple[float, float] | None]:
    """Return the mean of `name - cpu` over networks and depths, with its 95 % interval over the seeds."""
    pairs = [(by_seed(found[name], column), by_seed(found[CPU], column)) for _, _, found in _trained(rows)]
    seeds = [
        seed for seed in (pairs[0][0] if pairs else ()) if all(seed in a and seed in b for a, b in pairs)
    ]
    means = [mean([mine[seed] - exact[seed] for mine, exact in pairs]) for seed in seeds]
    return (mean(means), interval(means)) if means else (float("nan"), None)


def worst_networks(rows: Sequence[Row], least: float) -> list[str]:
    """Return the networks in which the interval of `opu_sim - cpu` lies wholly below `least` points."""
    return [
        f"`{model}` with {blocks} blocks"
        for model, blocks, found in _trained(rows)
        if (ci := points_between(found[OPTICS], found[CPU])[1]) and ci[1] < least
    ]


def frames_of_a_step(rows: Sequence[Row]) -> float:
    """Return the frames of a step of `opu_sim` as a multiple of those of ternary errors, over networks and depths."""
    ratios = [
        _frames(found[OPTICS]) / _frames(found[TERNARY])
        for _, _, found in _trained(rows)
        if _frames(found[TERNARY])
    ]
    return mean(ratios) if ratios else float("nan")


def _trained(rows: Sequence[Row]) -> Iterator[tuple[str, str, dict[str, list[Row]]]]:
    """Yield each network of two to four blocks of experiment=depth, with its runs on each device."""
    chosen = [row for row in pick(rows, experiment="depth") if row["readout"] != "ideal"]
    for model, blocks, hidden in _depths(chosen):
        if int(blocks) <= 4:
            same = pick(chosen, model=model, **hidden)
            yield model, blocks, {name: of_series(same, name) for name in (CPU, OPTICS, TERNARY)}


def _frames(rows: Sequence[Row]) -> float:
    """Return the mean number of frames of a step. A graph has one step in an epoch."""
    return mean([float(row["frames"]) / float(row["last_epoch"]) for row in rows if row["frames"]] or [0.0])


def causal(rows: Sequence[Row]) -> Shown:
    """The causal test: the error itself, the error with the mean row of ternary errors, and the encodings."""
    chosen = [
        row for row in rows if row["experiment"] in ("depth", "depth_mean_row") and row["readout"] == "ideal"
    ]
    lines = []
    for model, blocks, hidden in _depths(chosen):
        found = [pick(chosen, model=model, **hidden, **arm) for arm in ARMS.values()]
        lines.append((f"`{model}`", blocks, *map(percent, found)))
    seeds = _seeds(pick(chosen, encoding="ternary"))
    return {"arms": [*ARMS], "lines": lines, "seeds": seeds} if chosen else {}


def deeper(rows: Sequence[Row]) -> Shown:
    """The networks of 8 and 16 blocks."""
    chosen = pick(rows, experiment="depth")
    lines, untrained, seeds = [], [], 0
    for model, blocks, hidden in _depths(chosen):
        if int(blocks) > 4:
            same = pick(chosen, model=model, **hidden)
            cpu, optics, ternary = (of_series(same, name) for name in (CPU, OPTICS, TERNARY))
            cells = (percent(some) for some in (cpu, optics, ternary))
            lines.append((f"`{model}`", blocks, *cells, difference(optics, cpu), difference(ternary, cpu)))
            if 100 * average(cpu) < TRAINS:
                untrained.append(f"`{model}` with {blocks} blocks")
            seeds = _seeds(cpu)
    return {"lines": lines, "untrained": untrained, "trains": TRAINS, "seeds": seeds} if lines else {}


def tuned_again(rows: Sequence[Row]) -> Shown:
    """Networks of four blocks with the shipped values and with values chosen for four blocks."""
    chosen = pick(rows, experiment="depth_tuned")
    lines = []
    for model in ("fc", "gcn", "gat"):
        tuned = {name: of_series(pick(chosen, model=model), name) for name in depth_choice.ARMS}
        hidden = next((row["model.hidden"] for some in tuned.values() for row in some), "")
        for name, some in tuned.items():
            experiment = "architectures" if name == BP else "depth"
            shipped = [
                row
                for row in pick(rows, experiment=experiment, model=model, **{"model.hidden": hidden})
                if row["readout"] != "ideal"
            ]
            if some:
                less = "" if name in (BP, CPU) else difference(some, tuned[CPU])
                lines.append((f"`{model}`", name, percent(of_series(shipped, name)), percent(some), less))
    return {"lines": lines, "seeds": _seeds(chosen)} if lines else {}


def gradients() -> Shown:
    """The cosines that `studies.depth.gradients` has measured, over the epochs that it trained for."""
    table = _read_table("depth_gradients.csv")
    lines = []
    for model in ("gcn", "fc", "gat"):
        for encoding in dict.fromkeys(row["encoding"] for row in table):
            some = [row for row in table if (row["model"], row["encoding"]) == (model, encoding)]
            if some:
                blocks = [key for key in some[0] if key.startswith("gradient_")]
                cosines = [mean([float(row[key]) for row in some]) for key in ("row", *blocks)]
                lines.append((f"`{model}`", f"`{encoding}`", *(f"{value:.2f}" for value in cosines)))
    if not lines:
        return {}
    epochs = {int(row["epoch"]) for row in table}
    return {"lines": lines, "epochs": max(epochs), "seeds": len({row["seed"] for row in table})}


def common_mode() -> Shown:
    """The accuracies of `studies.depth.common_mode`."""
    table = _read_table("common_mode.csv")
    if not table:
        return {}
    return {
        name: (", ".join(row[name] for row in table), f"{mean([float(row[name]) for row in table]):.1f}")
        for name in ("plain", "centred")
    }


def _read_table(name: str) -> list[dict[str, str]]:
    path = DOCS / name
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def encoding(rows: Sequence[Row]) -> Shown:
    chosen = pick(rows, experiment="encoding")
    known = [row for row in pick(rows, experiment="depth") if row["readout"] != "ideal"]
    if not (chosen and known):
        return {}
    planes = pick(chosen, encoding="bitplanes")
    columns = {
        "`cpu`": of_series(known, CPU),
        "ternary, no noise": pick(chosen, encoding="ternary"),
        "ternary": of_series(known, TERNARY),
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
    return {
        "columns": [*columns],
        "lines": lines,
        "behind": "; ".join(words),
        "seeds": _seeds(chosen),
    }


def noise(rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    """Return for each parameter its name, its settings, the table of accuracies, and where training broke."""
    chosen = [row for row in pick(rows, experiment="noise") if row["model.hidden"] != DEEP]
    knobs = []
    for knob, (name, usual) in KNOBS.items():
        values = settings(chosen, knob)
        lines, broken = [], []
        for data in ("cora", "mnist"):
            found = {value: with_knob_at(chosen, data, knob, value) for value in values}
            if not any(found.values()):
                continue  # only run with earlier optics, which had another encoding
            lines.append((NAMES[data], *map(percent, found.values())))
            broken.append(f"{NAMES[data]} at {_broken_at(found, found.get(usual, []))}")
        if "photons" in knob:
            for series in (OPTICS, TERNARY):
                some = of_series(pick(rows, experiment="noise", **{"model.hidden": DEEP}), series)
                if some:
                    label = "Cora, 4 blocks" + (", ternary" if series == TERNARY else "")
                    found = {value: pick(some, **{knob: value}) for value in values}
                    lines.append((label, *map(percent, found.values())))
                    brightest = next(light for light in reversed(found.values()) if light)
                    broken.append(f"{label.replace(', 4', ' with 4')} at {_broken_at(found, brightest)}")
        if lines:
            knobs.append((name, bold(values, usual), lines, "; ".join(broken)))
    return knobs


def _broken_at(found: Mapping[str, Sequence[Row]], usual: Sequence[Row]) -> str:
    """Name the values at which training is broken, measured by the runs at the `usual` value."""
    base = average(usual)
    at = [value for value, some in found.items() if some and 100 * (base - average(some)) > BREAKS]
    return _join_with_and(at) if at else "none of these"


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
    fc, gcn = (_seeds(pick(chosen, data=data)) for data in ("mnist", "cora"))
    return {"lines": lines, "above": above, "fc_seeds": fc, "gcn_seeds": gcn}


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


def _seeds(rows: Sequence[Row]) -> int:
    """Count the seeds."""
    return len({row["seed"] for row in rows})


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
