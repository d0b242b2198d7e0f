"""Where a run computes, answered without importing torch where that is possible.

A sweep that only reuses what is there has to know what `auto` stands for, and torch takes a second to import.
"""

from __future__ import annotations

from typing import Any

from dfa_cli.config.identity import modernised
from dfa_cli.errors import DfaError
from dfa_cli.machine.accelerator import NAMES, multiplies_bfloat16, resolve


def resolve_auto(config: dict[str, Any]) -> dict[str, Any]:
    """Every `auto` replaced by what this machine has. Raises `DfaError` when it lacks what was asked for."""
    config = modernised(config)
    device = dict(config["device"])
    if "where" in device:
        device["where"] = resolve(device["where"])
    compute = config["compute"]
    if compute == "auto":
        # a digital device trains where it projects; a simulated one, wherever is fastest
        compute = device.get("where") or resolve("auto")
    compute = resolve(compute)
    if config["precision"] == "bf16" and not multiplies_bfloat16(compute):
        raise DfaError(
            f"precision=bf16 needs bfloat16 arithmetic, and the {NAMES[compute]} of this machine has none; "
            "use precision=fp32."
        )
    return {**config, "device": device, "compute": compute}
