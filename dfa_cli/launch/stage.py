"""Runs in each further process of a parallel run, started by `dfa_cli/parallel/processes.py`."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from dfa_cli.config.own_code import OwnCode
from dfa_cli.config.spec import RunSpec
from dfa_cli.machine.startup import prepare_process

PAUSE_SECONDS = 0.5


def main() -> None:
    """Compute one stage of the run that the first argument describes."""
    prepare_process()
    # Ctrl-C goes to the process that owns the record, which then ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    order = json.loads(sys.argv[1])
    code = OwnCode.from_copies(order["code"], Path(order["config"]["outputs"]).absolute())
    spec = RunSpec(order["config"], order["choices"], [], order["config_dir"], code)
    from dfa_cli import experiment

    try:
        experiment.run_stage(spec, Path(order["folder"]), order["resumed"])
    except Exception:  # noqa: BLE001  (the process that owns the record has been told the reason, and reports it)
        os._exit(1)


def _end_with_parent() -> None:
    """End this process when the one that started it has ended."""
    while os.getppid() == int(os.environ["DFA_PARENT"]):
        time.sleep(PAUSE_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
