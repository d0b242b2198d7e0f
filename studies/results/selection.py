"""Chooses the runs from which the numbers of docs/results.md are computed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from studies.results.table import Row

NAMES = {"cora": "Cora", "citeseer": "CiteSeer", "pubmed": "PubMed", "mnist": "MNIST"}
# Name -> rule and device, as the command line names them. An empty device means any device.
SERIES = {
    "`bp`": ("bp", ""),
    "`dfa` on `cpu`": ("dfa", "cpu"),
    "`dfa` on `opu_sim`": ("dfa", "opu_sim"),
    "`shallow`": ("shallow", ""),
}
KNOBS = {
    "device.encoding.threshold": ("ternary threshold, of the row's largest error", "0.4"),
    "device.camera.bits": ("bits of the camera", "8"),
    "device.camera.photons": ("photoelectrons of an average pixel", "2500"),
    "device.camera.read_noise": ("read noise, photoelectrons r.m.s.", "5"),
}


def pick(rows: Iterable[Row], **conditions: str) -> list[Row]:
    """Return the rows with these values."""
    return [row for row in rows if conditions.items() <= row.items()]


def of_series(rows: Iterable[Row], name: str) -> list[Row]:
    """Return the rows of one entry of SERIES."""
    rule, device = SERIES[name]
    return [row for row in pick(rows, rule=rule) if device in ("", row["device"])]


def main_results(rows: Sequence[Row], data: str, name: str) -> list[Row]:
    """Return the runs of one data set and one entry of SERIES from which the first tables are made."""
    experiment = "mnist_fc" if data == "mnist" else "citation_gcn"
    readout = {"readout": "off_axis"} if "opu_sim" in name else {}
    return of_series(pick(rows, experiment=experiment, data=data, **readout), name)


def with_knob_at(rows: Sequence[Row], data: str, knob: str, value: str) -> list[Row]:
    """Return the runs in which one parameter of KNOBS has `value` and the others have their usual values."""
    usually = {key: usual for key, (_, usual) in KNOBS.items()}
    return pick(rows, data=data, **(usually | {knob: value}))


def by_setting(rows: Sequence[Row]) -> list[list[Row]]:
    """Group the runs of the experiment `feedback` that differ only in the seed, in the order of the table."""
    sets: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        key = (
            row["model.hidden"],
            row["device.distribution"],
            row["rule.share_columns"],
            row["rule.spread_over_edges"],
        )
        sets.setdefault(key, []).append(row)
    return [sets[key] for key in sorted(sets, key=lambda key: (len(key[0]), *key))]


def hidden_blocks(row: Row) -> range:
    """Return the numbers of the hidden blocks, from 1."""
    return range(1, 1 + len(row["model.hidden"].split()))
