"""One of two processes that wait for each other longer than they may take to connect (tests/parallel/test_start.py)."""

from __future__ import annotations

import time
from datetime import timedelta

import torch

from dfa_cli.parallel import processes
from dfa_cli.parallel.links import ProcessLink
from dfa_cli.parallel.traffic import FORWARD

CONNECTING = 2.5  # seconds
PAUSE = CONNECTING + 0.5


def answer_late() -> dict[str, float]:
    """Send a tensor late, and take one late that the other process has sent at once. Return both, in rank 0."""
    processes.CONNECTING = timedelta(seconds=CONNECTING)
    with processes.joined(2, [__file__], "cpu") as team:
        link = ProcessLink(team, torch.device("cpu"))
        if team.rank == 0:
            time.sleep(PAUSE)
            link.send(FORWARD, 1, torch.ones(1))
            link.flush()
            time.sleep(PAUSE)
            return {name: float(value) for name, value in team.gather({})[0].items()}
        received = link.expect(FORWARD, 0, (1,), torch.float32)()
        team.gather({"received": received})
        return {}


if __name__ == "__main__":
    answer_late()
