"""A user's rule that kills its own process, as the system does when memory runs out."""

from __future__ import annotations

import os
import signal
from typing import Any

from dfa_cli.rules import Backpropagation, Step


class Fragile(Backpropagation):
    def backward(self, *parts: Any) -> Step:
        os.kill(os.getpid(), signal.SIGKILL)
        return super().backward(*parts)


CONFIG = "_target_: fragile.Fragile\nneeds: nothing\n"
