"""Torch's schedules give the gradients of backpropagation in one process, and send what the formula says."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from program import PATIENCE


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_every_schedule_gives_the_gradients_of_one_process() -> None:
    program = Path(__file__).with_name("schedules_program.py")
    environment = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": "2",
    }
    pair = [
        subprocess.Popen(
            [sys.executable, str(program)],
            env={**environment, "RANK": str(rank), "GLOO_SOCKET_IFNAME": "lo"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (1, 0)
    ]
    try:
        outputs = [process.communicate(timeout=PATIENCE) for process in pair]
    finally:
        for process in pair:
            process.kill()
    assert [process.returncode for process in pair] == [0, 0], outputs
    found = json.loads(outputs[1][0])
    assert set(found) == {"gpipe 1", "gpipe 4", "1f1b 4", "interleaved 4", "zero-bubble 4", "zbv 4"}
    for name, measured in found.items():
        exact = name.endswith(" 1")
        for process in measured["processes"]:
            assert process["loss"] <= (0 if exact else 1e-6), name
            assert process["gradient"] <= (0 if exact else 1e-5), name
        for direction in ("forward", "backward"):
            assert sum(p[direction]["bytes"] for p in measured["processes"]) == measured["bytes"], name
