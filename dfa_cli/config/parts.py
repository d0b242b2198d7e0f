"""Tells which options a device chooses for its parts by itself, and which tuned values there are. It needs no Hydra."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from dfa_cli.config.paths import conf_dir

USUAL = "opu_sim"  # whose options stand in for those of a device that is not of this package


@functools.cache
def own_options(device: str) -> dict[str, str]:
    """Return the options of a device's parts, such as `{"device/readout": "off_axis"}`."""
    import yaml

    files = {file.stem: file for file in (conf_dir() / "device").glob("*.yaml")}
    node = yaml.safe_load(files.get(device, files[USUAL]).read_text("utf-8"))
    options: dict[str, str] = {}
    for entry in node.get("defaults", ()):
        if isinstance(entry, Mapping):
            for part, option in entry.items():
                options[f"device/{part.removeprefix('override ')}"] = option
        elif entry != "_self_":
            options |= own_options(entry)
    return options


def changed_parts(choices: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a device's parts that are not those of the device itself. `choices`: of each group."""
    parts = {
        group: option
        for group, option in choices.items()
        if group.startswith("device/") and option is not None
    }
    own = own_options(str(choices.get("device"))) if parts else {}
    return {group: option for group, option in parts.items() if option != own.get(group, "none")}


@functools.cache
def tuned_names() -> frozenset[str]:
    """Return the names of the files of conf/tuned, such as `gcn_cora_dfa`."""
    return frozenset(file.stem for file in (conf_dir() / "tuned").glob("*.yaml"))
