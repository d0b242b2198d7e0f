"""Whether a configuration fits: its bounds, and its parts together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dfa_cli.config.bounds import BOUNDS, lookup, require, require_threshold
from dfa_cli.config.identity import no_longer, outdated
from dfa_cli.errors import DfaError


def check(config: Mapping[str, Any], choices: Mapping[str, str]) -> None:
    """Raises `DfaError` for the first value out of bounds, and for a model and a data set that do not fit.

    `config`: plain nested dictionaries, resolved; `choices`: the option chosen of each group. A name that is no longer
    in use is out of bounds, too: `modernised` is for records, and what is composed today has today's names.
    """
    for name in outdated(config):
        raise DfaError(no_longer(name))
    for key in BOUNDS:
        value, present = lookup(config, key)
        if present:
            require(key, value)
    threshold, present = lookup(config, "device.encoding.threshold")
    if present:
        relative, said = lookup(config, "device.encoding.relative")
        require_threshold(threshold, relative if said else True)
    needs, gives = config["model"].get("needs"), config["data"].get("gives")
    if needs == "graph" and gives != "graph":
        raise DfaError(
            f"model={choices['model']} works on graphs and data={choices['data']} has no edges; "
            "use a graph (data=cora, citeseer, pubmed, digits_graph) or model=fc."
        )
