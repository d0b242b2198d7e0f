"""The second process of two, which is killed at a moment of the start-up (tests/parallel/test_start.py)."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from dfa_cli.parallel.links import ProcessLink
from dfa_cli.parallel.processes import joined


def die(*_: object, **__: object) -> None:
    Path(sys.argv[2]).write_text(str(time.time()))
    os.kill(os.getpid(), signal.SIGKILL)


def before_it_is_there() -> None:
    die()


def before_it_connects() -> None:
    """The other process has met this one, and torch waits for its address there."""
    distributed.init_process_group = die
    with joined(2, [], "cpu"):
        pass


def between_two_groups() -> None:
    make = distributed.new_group

    def make_one(**more: Any) -> Any:
        distributed.new_group = die
        return make(**more)

    distributed.new_group = make_one
    with joined(2, [], "cpu") as team:
        ProcessLink(team, torch.device("cpu"))


MOMENTS = {moment.__name__: moment for moment in (before_it_is_there, before_it_connects, between_two_groups)}

if __name__ == "__main__":
    MOMENTS[sys.argv[1]]()
