"""Which values each key of the configuration may have.

`checks.py` checks a configuration against this table. A class checks its arguments against it, too, so they are also
checked when a Python program creates the object itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from dfa_cli.errors import DfaError


@dataclass(frozen=True)
class Bound:
    """A condition on a value, and the words that describe it in an error message and in the documentation.

    `real`: the value is a real number. Then 1 and 1.0 are the same value, and configurations that differ only in this
    have the same identity (`identity.py`).
    """

    holds: Callable[[Any], bool]
    words: str
    real: bool = False


LARGEST = 3.4e38  # the largest number of single precision, in which everything is computed


def is_number(value: Any) -> bool:
    """Whether a value is a number that is finite in single precision."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number. `True` and `1.0` are not."""
    return isinstance(value, int) and not isinstance(value, bool)


AT_LEAST_ONE = Bound(lambda v: is_whole(v) and v >= 1, "a whole number of at least 1")
NOT_NEGATIVE = Bound(lambda v: is_number(v) and v >= 0, "a number of at least 0", real=True)
POSITIVE = Bound(lambda v: is_number(v) and v > 0, "a number greater than 0", real=True)
A_SEED = Bound(lambda v: is_whole(v) and 0 <= v < 2**63, "a whole number of at least 0")
FRACTION = Bound(lambda v: is_number(v) and 0 <= v < 1, "a number from 0 to below 1", real=True)
UP_TO_ONE = Bound(lambda v: is_number(v) and 0 < v <= 1, "a number above 0 and up to 1", real=True)
YES_OR_NO = Bound(lambda v: isinstance(v, bool), "true or false")
A_FOLDER = Bound(lambda v: isinstance(v, str), "the name of a folder")
WIDTHS = Bound(
    lambda v: isinstance(v, list) and len(v) > 0 and all(is_whole(w) and w >= 1 for w in v),
    "a list of one or more whole numbers of at least 1, such as [64] or [256,256]",
)


def choice(*names: str) -> Bound:
    return Bound(lambda v: v in names, "one of " + ", ".join(names))


def whole(least: int, most: int) -> Bound:
    return Bound(lambda v: is_whole(v) and least <= v <= most, f"a whole number from {least} to {most}")


def optional(bound: Bound) -> Bound:
    return Bound(lambda v: v is None or bound.holds(v), bound.words + ", or null", bound.real)


def auto_or(bound: Bound) -> Bound:
    return Bound(lambda v: v == "auto" or bound.holds(v), "auto, or " + bound.words, bound.real)


def in_unit(unit: str, bound: Bound) -> Bound:
    return replace(bound, words=f"{bound.words}, in {unit}")


BOUNDS: dict[str, Bound] = {
    "seed": A_SEED,
    "run_id": Bound(
        lambda v: isinstance(v, str) and v != "" and not set(v) & set("/\\"), "a name without slashes"
    ),
    "epochs": AT_LEAST_ONE,
    "batch_size": optional(AT_LEAST_ONE),
    "patience": optional(AT_LEAST_ONE),
    "alignment_every": optional(AT_LEAST_ONE),
    "schedule": choice("constant", "linear", "cosine"),
    "weight_decay_on": choice("all", "hidden"),
    "compute": choice("auto", "cpu", "cuda", "mps"),
    "precision": choice("fp32", "tf32", "bf16"),
    "activations": choice("keep", "recompute"),
    "graph": choice("auto", "off"),
    "weights": choice("last", "best"),
    "threads": optional(whole(1, 1024)),
    "outputs": A_FOLDER,
    "data_dir": optional(A_FOLDER),
    "mirrors": Bound(
        lambda v: isinstance(v, list) and all(isinstance(folder, str) for folder in v),
        "a list of folders, such as [../shared/datasets], or []",
    ),
    "progress": choice("auto", "bar", "lines", "none"),
    "checkpoint_every": optional(AT_LEAST_ONE),
    "fail_fast": YES_OR_NO,
    "grids": optional(
        Bound(
            lambda v: isinstance(v, list),
            "a list of grids, each with keys and their values, as in an experiment",
        )
    ),
    "model.needs": choice("nothing", "graph"),
    "rule.needs": choice("nothing", "projection"),
    "model.hidden": WIDTHS,
    "model.activation": choice("tanh", "relu"),
    "reuse": Bound(lambda v: isinstance(v, bool) or v == "strict", "true, false or strict"),
    "model.dropout": FRACTION,
    "model.input_dropout": FRACTION,
    "rule.scale": POSITIVE,
    "rule.feedback_seed": A_SEED,
    "rule.share_columns": YES_OR_NO,
    "rule.spread_over_edges": YES_OR_NO,
    "device.matrix_seed": A_SEED,
    "device.noise_seed": A_SEED,
    "device.where": choice("auto", "cpu", "cuda"),
    "device.distribution": choice("gaussian", "uniform"),
    "device.calibration": UP_TO_ONE,
    "device.macropixel": auto_or(AT_LEAST_ONE),
    "device.remove_sum": YES_OR_NO,
    "device.frame_seconds": auto_or(in_unit("seconds", POSITIVE)),
    "device.frame_time.shortest": in_unit("seconds", NOT_NEGATIVE),
    "device.frame_time.pause": in_unit("seconds", NOT_NEGATIVE),
    "device.frame_time.row": in_unit("seconds", NOT_NEGATIVE),
    "device.frame_time.row_pixels": AT_LEAST_ONE,
    "device.laser.watts": in_unit("watts", POSITIVE),
    "device.laser.wavelength": Bound(
        lambda v: is_number(v) and 1e-8 <= v <= 1e-4,
        "a number of metres from 1e-8 to 1e-4, such as 532e-9",
        real=True,
    ),
    "device.laser.exposure_seconds": in_unit("seconds", POSITIVE),
    "device.laser.efficiency": UP_TO_ONE,
    "device.power_watts": in_unit("watts", NOT_NEGATIVE),
    "device.perfect": YES_OR_NO,
    "device.limits.mirrors": AT_LEAST_ONE,
    "device.limits.pixels": AT_LEAST_ONE,
    "device.limits.lift": YES_OR_NO,
    "device.encoding.threshold": NOT_NEGATIVE,
    "device.encoding.relative": YES_OR_NO,
    "device.encoding.bits": whole(1, 16),
    "device.camera.bits": optional(whole(1, 24)),
    "device.camera.full_well": optional(in_unit("photoelectrons", POSITIVE)),
    "device.camera.photons": optional(auto_or(in_unit("photoelectrons", POSITIVE))),
    "device.camera.read_noise": in_unit("photoelectrons", NOT_NEGATIVE),
    "device.camera.shot_noise": YES_OR_NO,
    "device.camera.exposure": Bound(
        lambda v: v == "auto" or (is_number(v) and v > 0),
        "auto, or a number greater than 0, in full exposures",
    ),
    "device.drift.tau": optional(POSITIVE),
    "device.drift.unit": choice("steps", "hours"),
    "device.drift.walk": in_unit("radians per square root of a step", NOT_NEGATIVE),
    "device.drift.jitter": in_unit("radians", NOT_NEGATIVE),
    "device.drift.refresh": AT_LEAST_ONE,
    # A read-out may wrap another read-out, which has the same keys below `wrapped`.
    **{
        f"device.readout.{prefix}{key}": bound
        for prefix in ("", "wrapped.")
        for key, bound in {
            "steps": whole(3, 256),
            "grain": whole(4, 256),
            "band_limited": YES_OR_NO,
            "demodulation": choice("fourier", "local"),
            "reference": POSITIVE,
            "visibility": UP_TO_ONE,
            "headroom": POSITIVE,
        }.items()
    },
    "optimizer.lr": POSITIVE,
    "optimizer.weight_decay": NOT_NEGATIVE,
    "optimizer.momentum": FRACTION,
    "optimizer.fused": optional(YES_OR_NO),
    "parallel.stages": whole(1, 1024),
    "parallel.replicas": whole(1, 1024),
    "parallel.micro_batches": AT_LEAST_ONE,
    "parallel.split": optional(
        replace(WIDTHS, words="a list with the number of blocks of each stage, at least 1, such as [3,2]")
    ),
    "parallel.schedule": optional(choice("gpipe", "1f1b", "interleaved", "zero-bubble", "zbv")),
    "parallel.projector": choice("local", "central"),
    "data.neighbours": AT_LEAST_ONE,
    "data.labels_per_class": AT_LEAST_ONE,
    "data.split_seed": optional(A_SEED),
    "data.validation": AT_LEAST_ONE,
}


class RefusedValueError(DfaError):
    """A value of `key` is out of bounds."""

    def __init__(self, key: str, message: str):
        super().__init__(message)
        self.key = key


def require(key: str, value: Any, bound: Bound | None = None) -> None:
    """Raise `DfaError` unless the value is within the bound of its key.

    A class gives `bound` in place of the entry of `BOUNDS` where it knows a narrower one, for example from the size of
    its data set.
    """
    bound = bound or BOUNDS[key]
    if not bound.holds(value):
        raise RefusedValueError(
            key, f"{key} is {shown(value)}. It must be {bound.words}{range_hint(key, value)}."
        )


def range_hint(key: str, value: Any) -> str:
    """Say how several values are typed, for a value such as `0..3` that means them; nothing for another value."""
    written = re.fullmatch(r"(\d+)(?:\.\.+|-)(\d+)", value) if isinstance(value, str) else None
    if written is None:
        return ""
    first, end = int(written[1]), int(written[2]) + 1
    fits = BOUNDS[key].holds if key in BOUNDS else bool
    if not (first + 1 < end <= first + 1000 and fits(first) and fits(end - 1)):
        return ""
    return f"; dfa sweep takes several: {key}='range({f'{first},' if first else ''}{end})'"


def require_threshold(threshold: Any, relative: Any = True, fixed: bool = False) -> None:
    """Raise `DfaError` for a threshold of an encoding that no entry of the error could pass.

    `fixed`: the encoding has no key `relative`, and its threshold is always relative.
    """
    require("device.encoding.threshold", threshold)
    require("device.encoding.relative", relative)
    if relative and threshold >= 1:
        advice = "" if fixed else "; device.encoding.relative=false makes it absolute"
        raise DfaError(
            f"device.encoding.threshold is {shown(threshold)}. It must be a number from 0 to below 1, "
            f"since it is relative to each row's largest error{advice}."
        )


def lookup(config: Mapping[str, Any], key: str) -> tuple[Any, bool]:
    """Return the value at a dotted key, such as `rule.scale`, and whether the configuration has that key."""
    node: Any = config
    for part in key.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return None, False
        node = node[part]
    return node, True


def shown(value: Any) -> str:
    """Spell a value as it is written in a configuration: `null`, `true`, `[64, 64]`."""
    return json.dumps(value) if isinstance(value, (list, dict, bool)) or value in (None, "") else str(value)
