"""The process in which Hydra and its launchers run the jobs of a sweep; started by `watch.py`.

Jobs that the default launcher runs one after another share this process, and with it torch and the data sets. When
it is killed, by the system for want of memory say, the sweep starts another one for the jobs that are left.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

GRACE_SECONDS = 10.0  # for the jobs to close their records when the sweep is gone


def main() -> None:
    # a shell that starts a job in the background has it ignore Ctrl-C
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.default_int_handler)
    threading.Thread(target=_end_with_sweep, daemon=True).start()
    from dfa_cli.config.hydra_entry import hydra_main
    from dfa_cli.sweeps import task as job

    job.in_engine = True
    if "launcher=joblib" in sys.argv:
        # its processes get the signal, too, and close their records; joblib would kill those that have not yet
        signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        hydra_main(sys.argv[1:], "dfa sweep", job.task)
    except KeyboardInterrupt:
        sys.exit(130)


def _end_with_sweep() -> None:
    """Ends this process, and what it has started, when the sweep's process is gone: its end of the pipe closes."""
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGINT)
    time.sleep(GRACE_SECONDS)
    os.killpg(0, signal.SIGKILL)
