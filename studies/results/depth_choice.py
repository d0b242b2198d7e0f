"""Writes conf/experiment/depth_tuned.yaml: what the search tuning_depth chose for each network, rule and device."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from studies.results.averages import average, percent
from studies.results.selection import SERIES, TERNARY, of_series, pick
from studies.results.table import Row

SEARCHED = ("model.activation", "model.dropout", "optimizer.lr")
ARMS = (*(name for name in SERIES if name != "`shallow`"), TERNARY)
HEAD = """# @package _global_
# Networks of four blocks with values that experiment=tuning_depth chose for four blocks, each rule and device with the
# same budget. scripts/reproduce writes this file from docs/tuning.csv; a change by hand is lost.
defaults:
  - override /data: cora

"""


def choices(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """Return for each network and arm the runs with the best mean validation accuracy at their best epoch."""
    found = {}
    for model in ("fc", "gcn", "gat"):
        for arm in ARMS:
            combinations: dict[tuple[str, ...], list[Row]] = {}
            for row in of_series(pick(rows, experiment="tuning_depth", model=model), arm):
                combinations.setdefault(tuple(row[key] for key in SEARCHED), []).append(row)
            if combinations:
                found[model, arm] = max(combinations.values(), key=lambda runs: average(runs, "validation"))
    return found


def experiment(rows: Sequence[Row]) -> str:
    """Return the text of conf/experiment/depth_tuned.yaml."""
    grids = []
    for (model, arm), runs in choices(rows).items():
        one = runs[0]
        hidden = one["model.hidden"].split()
        grid = {
            "model": model,
            "model.hidden": f"[{','.join(hidden)}]",
            **{key: yaml.safe_load(one[key]) for key in SEARCHED},
            "rule": one["rule"],
            "device": one["device"] or "cpu",
        }
        if arm == TERNARY:
            grid |= {"device/encoding": "ternary", "device.remove_sum": False}
        grids.append(grid)
    sweeper = {"sweeper": {"params": {"data": "cora", "seed": "range(20)"}}}
    return (
        HEAD + yaml.safe_dump({"grids": grids}, sort_keys=False) + "\n" + yaml.safe_dump({"hydra": sweeper})
    )


def lines(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return the lines of the table of docs/tuning.md: what was chosen, and its validation accuracy."""
    return [
        (f"`{model}`", arm, *(runs[0][key] for key in SEARCHED), percent(runs, "validation"))
        for (model, arm), runs in choices(rows).items()
    ]
