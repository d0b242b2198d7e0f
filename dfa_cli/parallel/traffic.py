"""Counts what one process of a parallel run sends, and measures how long it computes, sends and waits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

# Kinds of messages. The last two are sent by every rule alike, and are no part of a step's forward or backward pass.
FORWARD, BACKWARD, PROJECTION, ALL_REDUCE = "forward", "backward", "projection", "all_reduce"
RESULT, EVALUATION = "result", "evaluation"
KINDS = (FORWARD, BACKWARD, PROJECTION, ALL_REDUCE, RESULT, EVALUATION)


class Traffic:
    """The messages and bytes that a process has sent, by kind, and its seconds.

    `steps`: the number of training steps. The seconds are those of training steps only. `timeline` holds the spans of
    the last step on a whole batch: what was computed, for which micro-batch, and from when to when.
    """

    def __init__(self) -> None:
        self.sent = {kind: {"messages": 0, "bytes": 0} for kind in KINDS}
        self.seconds = {"computing": 0.0, "sending": 0.0, "waiting": 0.0}
        self.steps = 0
        self.timeline: list[dict[str, Any]] = []
        self._in_step = False
        self._rows = 0

    def count(self, kind: str, tensor: Tensor) -> None:
        self.sent[kind]["messages"] += 1
        self.sent[kind]["bytes"] += tensor.numel() * tensor.element_size()

    @contextmanager
    def step(self, rows: int) -> Iterator[None]:
        """Enclose a training step on a batch of so many rows."""
        self._spans: list[dict[str, Any]] = []
        self._in_step = True
        try:
            yield
        finally:
            self._in_step = False
        self.steps += 1
        if rows >= self._rows:
            self._rows, self.timeline = rows, self._spans

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Add the time of the block to `sending` or `waiting`, if it is part of a step."""
        began = time.perf_counter()
        try:
            yield
        finally:
            if self._in_step:
                self.seconds[what] += time.perf_counter() - began

    @contextmanager
    def computing(self, kind: str, micro_batch: int, chunk: int) -> Iterator[None]:
        """Add the time of the block to `computing`, and the block to the timeline."""
        began = time.perf_counter()
        try:
            yield
        finally:
            ended = time.perf_counter()
            if self._in_step:
                self.seconds["computing"] += ended - began
                self._spans.append(
                    {"kind": kind, "micro_batch": micro_batch, "chunk": chunk, "from": began, "to": ended}
                )

    def summary(self) -> dict[str, Any]:
        """Return all figures as plain data."""
        sent = {kind: counts for kind, counts in self.sent.items() if counts["messages"]}
        return {"steps": self.steps, "sent": sent, "seconds": self.seconds, "timeline": self.timeline}
