"""The part of `dfa show` about the processes of a parallel run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dfa_cli.console.table import lay_out
from dfa_cli.console.values import NOTHING, duration, number, quantity

# The directions in which tensors travel in a training step, with their headings.
DIRECTIONS = {
    "forward": "forward",
    "backward": "backward",
    "projection": "projection",
    "all_reduce": "all-reduce",
    "result": "result",
}
SECONDS = ("computing", "sending", "waiting")


def process_table(parallel: Mapping[str, Any], width: int) -> list[str]:
    """Lays out what each process sent in a training step, on average, and how long it computed, sent and waited."""
    stages = [stage for stage in parallel.get("stages") or () if isinstance(stage, dict)]
    sent = [name for name in DIRECTIONS if any((stage.get("sent") or {}).get(name) for stage in stages)]
    heads = ["process", "blocks", *(f"{DIRECTIONS[name]} sent" for name in sent), *SECONDS, "peak memory"]
    rows = [
        [
            str(place),
            _span(stage.get("blocks") or ()),
            *(_sent(stage, name) for name in sent),
            *(_seconds(stage, name) for name in SECONDS),
            quantity((number(stage.get("peak_memory_mb")) or 0) * 1e6, "B"),
        ]
        for place, stage in enumerate(stages, start=1)
    ]
    return lay_out(heads, rows, [False] * len(heads), keys=1, width=width) if rows else []


def _span(blocks: Sequence[int]) -> str:
    """Writes block numbers in short: `1-3`, or `1-2, 7-8`."""
    parts: list[list[int]] = []
    for block in blocks:
        if parts and block == parts[-1][1] + 1:
            parts[-1][1] = block
        else:
            parts.append([block, block])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts) or NOTHING


def _sent(stage: Mapping[str, Any], name: str) -> str:
    counts = (stage.get("sent") or {}).get(name)
    steps = number(stage.get("steps"))
    if not counts or not steps:
        return NOTHING
    return f"{counts['messages'] / steps:.3g} x {quantity(counts['bytes'] / counts['messages'], 'B')}"


def _seconds(stage: Mapping[str, Any], name: str) -> str:
    steps, seconds = number(stage.get("steps")), number((stage.get("seconds") or {}).get(name))
    return duration(seconds / steps, fine=True) if steps and seconds is not None else NOTHING
