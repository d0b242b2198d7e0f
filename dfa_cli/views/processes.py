"""The part of `dfa show` about the processes of a parallel run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dfa_cli.console.table import lay_out
from dfa_cli.console.values import NOTHING, duration, number, quantity

# The directions in which tensors travel in a training step, with their headings, which are those of `dfa plan`. What a
# rule that projects the error sends back is the error itself.
DIRECTIONS = {
    "forward": "forward",
    "backward": "backward",
    "projection": "feedback",
    "all_reduce": "all-reduce",
    "result": "result",
}
SECONDS = ("computing", "sending", "waiting")


def process_table(parallel: Mapping[str, Any], part: str, width: int, projects: bool = False) -> list[str]:
    """Lays out what each process sent in a training step, on average, and how long it computed, sent and waited.

    `part`: the heading of the number of a process, such as `stage`. `projects`: the rule projects the error.
    """
    headings = {**DIRECTIONS, "backward": "error"} if projects else DIRECTIONS
    listed = parallel.get("stages")
    stages = [stage for stage in listed if isinstance(stage, dict)] if isinstance(listed, list) else []
    sent = [name for name in DIRECTIONS if any(_sent(stage, name) != NOTHING for stage in stages)]
    heads = [part, "blocks", *(f"{headings[name]} sent" for name in sent), *SECONDS, "peak memory"]
    rows = [
        [
            str(place),
            _span(stage.get("blocks")),
            *(_sent(stage, name) for name in sent),
            *(_seconds(stage, name) for name in SECONDS),
            quantity((number(stage.get("peak_memory_mb")) or 0) * 1e6, "B"),
        ]
        for place, stage in enumerate(stages, start=1)
    ]
    return lay_out(heads, rows, [False] * len(heads), keys=1, width=width) if rows else []


def _span(blocks: Any) -> str:
    """Writes block numbers in short: `1-3`, or `1-2, 7-8`. Anything else, as in a damaged record, is left out."""
    parts: list[list[int]] = []
    for block in blocks if isinstance(blocks, list) else ():
        if type(block) is not int:
            continue
        if parts and block == parts[-1][1] + 1:
            parts[-1][1] = block
        else:
            parts.append([block, block])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts) or NOTHING


def _sent(stage: Mapping[str, Any], name: str) -> str:
    messages, size = (_number_at(stage, "sent", name, what) for what in ("messages", "bytes"))
    steps = _number_at(stage, "steps")
    if not messages or not steps or size is None:
        return NOTHING
    return f"{messages / steps:.3g} x {quantity(size / messages, 'B')}"


def _seconds(stage: Mapping[str, Any], name: str) -> str:
    steps, seconds = _number_at(stage, "steps"), _number_at(stage, "seconds", name)
    return duration(seconds / steps, fine=True) if steps and seconds is not None else NOTHING


def _number_at(stage: Any, *place: str) -> float | None:
    """Returns the number at a place of nested dictionaries; `None` where there is none."""
    for name in place:
        stage = stage.get(name) if isinstance(stage, dict) else None
    return number(stage)
