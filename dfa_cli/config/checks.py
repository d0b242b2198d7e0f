"""Checks a composed configuration: each value against its bound, and the model against the data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dfa_cli.config.bounds import BOUNDS, lookup, require, require_threshold
from dfa_cli.config.identity import no_longer, outdated_names
from dfa_cli.config.optics import check_optics
from dfa_cli.errors import DfaError


def check(config: Mapping[str, Any], choices: Mapping[str, str]) -> None:
    """Raise `DfaError` for the first value out of bounds, and for a graph model whose data set has no edges.

    `config`: plain nested dictionaries without interpolations. `choices`: the option chosen of each group.
    A name that is no longer in use is refused, too. Old records may have such names, but `modernised` has replaced them
    before a record's configuration comes here.
    """
    for name in outdated_names(config):
        raise DfaError(no_longer(name))
    _require_nodes(config, choices)
    for key in BOUNDS:
        value, present = lookup(config, key)
        if present:
            require(key, value)
    threshold, present = lookup(config, "device.encoding.threshold")
    if present:
        relative, has_relative = lookup(config, "device.encoding.relative")
        require_threshold(threshold, relative if has_relative else True, fixed=not has_relative)
    check_optics(config["device"], choices)
    needs, gives = config["model"].get("needs"), config["data"].get("gives")
    if needs == "graph" and gives != "graph":
        raise DfaError(
            f"model={choices['model']} needs a graph, and data={choices['data']} has no edges; "
            "use a graph (data=cora, citeseer, pubmed, digits_graph) or model=fc."
        )


def _require_nodes(config: Mapping[str, Any], choices: Mapping[str, str]) -> None:
    """Raise `DfaError` for a single value where keys are, such as `device.readout=off_axis`."""
    for key in BOUNDS:
        node = key.rpartition(".")[0]
        value, present = lookup(config, node)
        if node and present and value is not None and not isinstance(value, Mapping):
            group = node.replace(".", "/")
            advice = f"is a group: type {group}={value}" if group in choices else f"has keys, such as {key}"
            raise DfaError(f"{node}={value} sets no value, since {node} {advice}.")
