"""Finds what the searches of docs/tuning.csv tried and which values they chose."""

from __future__ import annotations

from collections.abc import Sequence

from studies.results.averages import average, percent
from studies.results.markdown import bold
from studies.results.selection import NAMES, pick
from studies.results.table import SETTINGS, Row

# Searches that choose no file of conf/tuned: which encoding opu_sim has, and the values of experiment=depth_tuned.
OTHER = ("tuning_encoding", "tuning_depth")
SEARCHED = [key for key in SETTINGS if not key.startswith("device.")]


def choices(rows: Sequence[Row]) -> dict[tuple[str, str, str, str], list[Row]]:
    """Return the runs of the best combination for each experiment, model, data set and rule that was searched.

    The best combination has the highest validation accuracy, averaged over its seeds and devices; of equals it is the
    first. Where a second round gave some combinations more seeds, only those are compared.
    """
    found: dict[tuple[str, str, str, str], dict[tuple[str, ...], list[Row]]] = {}
    for row in rows:
        if row["experiment"] in OTHER:
            continue
        combinations = found.setdefault((row["experiment"], row["model"], row["data"], row["rule"]), {})
        combinations.setdefault(tuple(row[key] for key in SEARCHED), []).append(row)
    return {
        key: max(combinations.values(), key=lambda runs: (len(runs), average(runs, "validation")))
        for key, combinations in found.items()
    }


def searched(rows: Sequence[Row], experiment: str, model: str, data: str, rule: str) -> dict[str, list[str]]:
    """Return the settings that took several values in a search, with the values."""
    some = pick(rows, experiment=experiment, model=model, data=data, rule=rule)
    values = {key: list(dict.fromkeys(row[key] for row in some)) for key in SEARCHED}
    return {key: found for key, found in values.items() if len(found) > 1}


def tried(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return the lines of the table of docs/tuning.md."""
    lines = []
    for (experiment, model, data, rule), chosen in choices(rows).items():
        settings = searched(rows, experiment, model, data, rule)
        some = pick(rows, experiment=experiment, model=model, data=data, rule=rule)
        lines.append(
            (
                f"`{model}`, {NAMES[data]}",
                f"`{rule}`",
                "; ".join(
                    f"{key} {', '.join(bold(values, chosen[0][key]))}" for key, values in settings.items()
                ),
                str(len({tuple(row[key] for key in settings) for row in some})),
                str(len({row["seed"] for row in chosen})),
                chosen[0]["epochs"],
                percent(chosen, "validation"),
            )
        )
    return lines
