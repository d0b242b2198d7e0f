"""Reads presets and hardware from the YAML files of conf/preset and conf/hardware, or from the user's own files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from dfa_cli.config.bounds import is_number, is_whole
from dfa_cli.config.paths import conf_dir
from dfa_cli.errors import DfaError, one_of
from dfa_cli.planner.costs import Hardware, Workload
from dfa_cli.planner.counting import fully_connected, graph_convolution, transformer

ROW = {"transformer": "token", "fully_connected": "sample", "graph_convolution": "node"}
KINDS = {
    "transformer": ("layers", "width", "sequence", "vocabulary"),
    "fully_connected": ("widths",),
    "graph_convolution": ("widths", "edges", "features", "labelled"),
}
COMMON = ("batch", "value_bytes", "parameter_bytes")
HARDWARE = {  # the keys, each with an example
    "peak": "989.0e+12 operations a second",
    "achieved": "0.43",
    "bandwidth": "50.0e+9 bytes a second",
    "latency": "5.0e-6 seconds",
    "memory": "80.0e+9 bytes",
}


def read_hardware(name: str) -> Hardware:
    """Read `conf/hardware/NAME.yaml`, or the YAML file at the path `name`."""
    path, node = _read("hardware", name)
    for key, example in HARDWARE.items():
        _require(
            path, node, key, lambda v: is_number(v) and v > 0, f"a number greater than 0, such as {example}"
        )
    peak, achieved, bandwidth, latency, memory = (float(node[key]) for key in HARDWARE)
    return Hardware(path.stem, peak, achieved, bandwidth, latency, memory)


def read_preset(name: str) -> Workload:
    """Read `conf/preset/NAME.yaml`, or the YAML file at the path `name`, and count the operations of its blocks."""
    path, node = _read("preset", name)
    kind = node.get("kind")
    if kind not in KINDS:
        raise DfaError(f"{path}: kind: {one_of(str(kind), KINDS)}.")
    for key in (*KINDS[kind], *COMMON):
        if key == "widths":
            at_least_two = "a list of two or more whole numbers of at least 1"
            _require(
                path,
                node,
                key,
                lambda v: isinstance(v, list) and len(v) > 1 and all(map(_count, v)),
                at_least_two,
            )
        else:
            _require(path, node, key, _count, "a whole number of at least 1")
    widths, value_bytes = node.get("widths", []), node["value_bytes"]
    if kind == "transformer":
        blocks = transformer(node["layers"], node["width"], node["sequence"], node["vocabulary"])
        features, classes, unit = node["width"], node["vocabulary"], node["sequence"]
    elif kind == "fully_connected":
        blocks = fully_connected(widths, value_bytes)
        features, classes, unit = widths[0], widths[-1], 1
    else:
        nodes = node["batch"]
        blocks = graph_convolution(widths, node["edges"] / nodes, node["features"] / nodes, value_bytes)
        features, classes, unit = widths[0], widths[-1], nodes
    return Workload(
        path.stem,
        blocks,
        rows=node["batch"],
        classes=classes,
        features=features,
        row=ROW[kind],
        unit=unit,
        value_bytes=value_bytes,
        parameter_bytes=node["parameter_bytes"],
        labelled=node["labelled"] / node["batch"] if kind == "graph_convolution" else 1.0,
    )


def _count(value: Any) -> bool:
    return is_whole(value) and value >= 1


def known_presets() -> list[str]:
    return _known("preset")


def _known(group: str) -> list[str]:
    return sorted(file.stem for file in (conf_dir() / group).glob("*.yaml"))


def _read(group: str, name: str) -> tuple[Path, Mapping[str, Any]]:
    folder = conf_dir() / group
    own = name.endswith((".yaml", ".yml"))
    path = Path(name) if own else folder / f"{name}.yaml"
    known = _known(group)
    if not own and "=" in name:
        raise DfaError(
            f"--{group} takes a name, and {name} sets an option. Type --{group} {known[0]}, or leave --{group} out."
        )
    if not own and name not in known:
        raise DfaError(f"--{group}: {one_of(name, known)}, and not a YAML file of your own.")
    try:
        node = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DfaError(
            f"--{group} {name}: there is no such file. Give the path of a YAML file, or one of {', '.join(known)}."
        ) from error
    except OSError as error:
        raise DfaError(f"--{group} {name} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise DfaError(f"--{group} {name} cannot be read: {' '.join(str(error).split())}.") from error
    if not isinstance(node, dict):
        raise DfaError(f"--{group} {name} holds no keys; conf/{group}/{known[0]}.yaml shows what it needs.")
    return path, node


def _require(path: Path, node: Mapping[str, Any], key: str, holds: Callable[[Any], bool], words: str) -> None:
    if key not in node:
        raise DfaError(f"{path} has no {key}. It must be {words}.")
    if not holds(node[key]):
        raise DfaError(f"{path}: {key} is {node[key]}. It must be {words}.")
