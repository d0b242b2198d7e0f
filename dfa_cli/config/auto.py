"""Chooses what `auto` means on this machine: cpu, cuda or mps. Torch is not imported where that can be avoided.

A sweep has to know what `auto` means even when it only reuses old runs, and torch takes a second to import.
"""

from __future__ import annotations

from typing import Any

from dfa_cli.config.identity import modernised
from dfa_cli.errors import DfaError
from dfa_cli.machine.accelerator import NAMES, multiplies_bfloat16, multiplies_tf32, resolve


def resolve_auto(config: dict[str, Any]) -> dict[str, Any]:
    """Replace every `auto` in a configuration by a processor of this machine.

    Raises `DfaError` when the machine lacks the processor or the precision that the configuration asks for.
    """
    config = modernised(config)
    device = dict(config["device"])
    if "where" in device:
        device["where"] = resolve(device["where"])
    compute = config["compute"]
    if compute == "auto":
        # A digital device names in `where` what it projects on, and training uses the same. A simulated optical device
        # has no `where`, so the choice depends on the machine alone.
        compute = device.get("where") or resolve("auto")
    compute = resolve(compute)
    if config["precision"] == "bf16" and not multiplies_bfloat16(compute):
        raise DfaError(
            f"precision=bf16 needs bfloat16 arithmetic, and the {NAMES[compute]} of this machine has none; "
            "use precision=fp32."
        )
    if config["precision"] == "tf32" and not multiplies_tf32(compute):
        raise DfaError(
            "precision=tf32 needs a CUDA GPU of compute capability 8.0 (Ampere) or later, and this run trains on the "
            f"{NAMES[compute]} of this machine; use precision=fp32."
        )
    return {**config, "device": device, "compute": compute}
