"""Finds out before the training whether data sets can be had. A single run may use a stand-in for a default one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dfa_cli.config.overrides import quote_override
from dfa_cli.config.spec import RunSpec
from dfa_cli.errors import DfaError
from dfa_cli.records.fallback import fallback_sentence


@dataclass(frozen=True)
class StandIn:
    """An embedded data set that takes the place of a default one.

    `sentence`: what the user and every reader of the record are told. `reason`: where the default data set was looked
    for, and what each server answered. `overrides`: they put the stand-in into the configuration.
    """

    sentence: str
    reason: str
    overrides: list[str]


def find_stand_in(spec: RunSpec) -> StandIn | None:
    """Return a stand-in for the default data set of a single run, if it is not here and cannot be downloaded.

    A data set that the user or an experiment named has no stand-in. If it cannot be had, the run is refused later.
    """
    from dfa_cli.data.catalogue import name_of
    from dfa_cli.data.source import Source

    missing, stand_in = name_of(spec.config["data"]), spec.config["data"].get("stand_in")
    if missing is None or stand_in is None or any(_names_data(word) for word in spec.overrides):
        return None
    reason = Source.from_config(spec.config["data_dir"], spec.config["mirrors"]).available(missing)
    if reason is None:
        return None
    sentence = fallback_sentence(stand_in, missing)
    overrides = [f"data={stand_in}", f"data_fallback={quote_override(sentence)}"]
    return StandIn(sentence, f"{missing} could not be had: {reason}", overrides)


def require_data(specs: Iterable[RunSpec]) -> None:
    """Ask once for each data set of several runs whether it is here or can be downloaded.

    Raises `DfaError`, which names all that cannot be had. The runs of a sweep never use a stand-in, since their table
    would compare other data than the user asked for.
    """
    from dfa_cli.data.catalogue import embedded_for, name_of
    from dfa_cli.data.source import Source, refusal

    asked: set[str] = set()
    missing: dict[str, None] = {}
    needs: set[object] = set()
    for spec in specs:
        needs.add(spec.config["model"].get("needs"))
        places = spec.config["data_dir"], spec.config["mirrors"]
        name = name_of(spec.config["data"])
        if name is None or (question := f"{name} {places}") in asked:
            continue
        asked.add(question)
        source = Source.from_config(*places)
        # A server gets as much time as for a download, because a wrong answer would refuse the whole sweep.
        if source.available(name, source.timeout) is not None:
            missing[name] = None
    if missing:
        raise DfaError(refusal(list(missing), embedded_for("graph" if "graph" in needs else None)))


def _names_data(word: str) -> bool:
    """Tell whether an override chooses the data set, or sets a value that only this data set may have."""
    key = word.partition("=")[0].lstrip("+~")
    return key in ("data", "experiment") or key.startswith("data.")
