"""Chooses the runs from which the numbers of docs/results.md are computed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from studies.results.table import Row

_OPU = Path(__file__).resolve().parents[2] / "conf" / "device" / "opu_sim.yaml"
_DEFAULTS = yaml.safe_load(_OPU.read_text("utf-8"))
# The encoding of opu_sim where none is named, and whether its added sum is subtracted.
ENCODING: str = next(one["encoding"] for one in _DEFAULTS["defaults"] if "encoding" in one)
REMOVES_SUM: bool = _DEFAULTS["remove_sum"]
DEFAULT = f"`{ENCODING}`" + (" with `device.remove_sum=true`" if REMOVES_SUM else "")
NAMES = {"cora": "Cora", "citeseer": "CiteSeer", "pubmed": "PubMed", "mnist": "MNIST"}
# Name -> what the runs have in common, as the command line names it.
SERIES = {
    "`bp`": {"rule": "bp"},
    "`dfa` on `cpu`": {"rule": "dfa", "device": "cpu"},
    "`dfa` on `opu_sim`": {"rule": "dfa", "device": "opu_sim", "encoding": ENCODING},
    "`shallow`": {"rule": "shallow"},
}
TERNARY = "`dfa` on `opu_sim`, ternary"  # the scheme of Launay et al. 2020
_TERNARY = {"rule": "dfa", "device": "opu_sim", "encoding": "ternary"}
# These were run with the optics of earlier versions, and not yet repeated. The page says so.
EARLIER_OPTICS = ("tuning_citation",)
# Of these experiments, some runs have not been made yet. The page says so.
INCOMPLETE: tuple[str, ...] = ()

KNOBS = {
    "device.encoding.threshold": ("threshold of ternary errors, of the row's largest error", "0.4"),
    "device.camera.bits": ("bits of the camera", "8"),
    "device.camera.photons": ("photoelectrons of an average pixel", "auto"),
    "device.camera.read_noise": ("read noise, photoelectrons r.m.s.", "5"),
}


def pick(rows: Iterable[Row], **conditions: str) -> list[Row]:
    """Return the rows with these values."""
    return [row for row in rows if conditions.items() <= row.items()]


def of_series(rows: Iterable[Row], name: str) -> list[Row]:
    """Return the rows of one entry of SERIES, or of TERNARY."""
    some = pick(rows, **(_TERNARY if name == TERNARY else SERIES[name]))
    removes = REMOVES_SUM and name != TERNARY
    return [
        row for row in some if row["device"] != "opu_sim" or removes == (row["device.remove_sum"] == "True")
    ]


def main_results(rows: Sequence[Row], data: str, name: str) -> list[Row]:
    """Return the runs of one data set and one entry of SERIES from which the first tables are made."""
    experiment = "mnist_fc" if data == "mnist" else "citation_gcn"
    readout = {"readout": "off_axis"} if "`opu_sim`" in name else {}
    return of_series(pick(rows, experiment=experiment, data=data, **readout), name)


def settings(rows: Iterable[Row], knob: str) -> list[str]:
    """Return the values that a parameter of KNOBS has in these runs, in order. `auto` comes last."""
    found = {row[knob] for row in rows} - {""}
    return sorted(found, key=lambda value: float("inf") if value == "auto" else float(value))


def with_knob_at(rows: Sequence[Row], data: str, knob: str, value: str) -> list[Row]:
    """Return the runs in which one parameter of KNOBS has `value` and the others have their usual values.

    The threshold is turned with ternary errors, every other parameter with the default encoding.
    """
    name = TERNARY if "encoding" in knob else "`dfa` on `opu_sim`"
    found = of_series(pick(rows, data=data, **{knob: value}), name)
    others = {key: usual for key, (_, usual) in KNOBS.items() if key != knob}
    return [row for row in found if all(row[key] in (usual, "") for key, usual in others.items())]


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
