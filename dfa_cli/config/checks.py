"""Checks a composed configuration: each value against its bound, and the model against the data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dfa_cli.config.bounds import BOUNDS, RefusedValueError, lookup, require, require_threshold, shown
from dfa_cli.config.identity import no_longer, outdated_names
from dfa_cli.config.optics import check_optics
from dfa_cli.errors import DfaError

# an option of each group that a file of the user's own may change
EXAMPLES = {"model": "fc", "rule": "dfa", "device": "opu_sim", "data": "digits", "optimizer": "adam"}


def check(config: Mapping[str, Any], choices: Mapping[str, str]) -> None:
    """Raise `DfaError` for the first value out of bounds, and for a graph model whose data set has no edges.

    `config`: plain nested dictionaries without interpolations. `choices`: the option chosen of each group.
    A name that is no longer in use is refused, too. Old records may have such names, but `modernised` has replaced them
    before a record's configuration comes here.
    """
    for name in outdated_names(config):
        raise RefusedValueError(name, str(no_longer(name)))
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


def require_classes(config: Mapping[str, Any], choices: Mapping[str, str]) -> None:
    """Raise `DfaError` for an option that names no class, and for a rule that does not say whether it projects.

    Only the option `parallel=none` has no class.
    """
    for group in ("model", "rule", "device", "data", "optimizer"):
        node, option = config[group], choices.get(group)
        if isinstance(node, Mapping) and not isinstance(node.get("_target_"), str):
            raise RefusedValueError(
                group,
                f"{group}={option} names no class: it needs a line `_target_: MODULE.CLASS`, or a defaults list "
                f"with the option that it changes, such as `defaults: [{EXAMPLES[group]}, _self_]`.",
            )
    if isinstance(config["rule"], Mapping) and "needs" not in config["rule"]:
        raise RefusedValueError(
            "rule",
            f"rule={choices.get('rule')} lacks a line: `needs: projection` for a rule that asks the device for "
            "projections, or `needs: nothing` for one that does not. Runs of the latter that differ only in the device "
            "are the same run.",
        )


def _require_nodes(config: Mapping[str, Any], choices: Mapping[str, str]) -> None:
    """Raise `DfaError` for a single value where keys are, such as `device.readout=off_axis`."""
    for key in ("model.", "rule.", "device.", "data.", "optimizer.", *BOUNDS):
        node = key.rpartition(".")[0]
        value, present = lookup(config, node)
        if node and present and value is not None and not isinstance(value, Mapping):
            group = node.replace(".", "/")
            if group in choices and isinstance(value, str):
                message = (
                    f"{node}={value} sets no value, since {node} is a group: type {group}={value}. In a file, write "
                    f"`- override /{group}: {value}` in its defaults list."
                )
            else:
                some = next(one for one in BOUNDS if one.startswith(f"{node}."))
                message = f"{node}={shown(value)} sets no value, since {node} has keys, such as {some}."
            raise RefusedValueError(node, message)
