"""Runs in a process of its own, started by `supervisor.py`, and hands the jobs of a sweep to a launcher.

The default launcher runs its jobs in this process one after the other, so they share torch and the data sets. When the
process is killed, for example because memory ran out, the sweep starts another one for the jobs that are left.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from dfa_cli.machine import signals

GRACE_SECONDS = 10.0  # time for the jobs to close their records after the sweep's process has ended


def main() -> None:
    """Run the jobs of a grid, or the trials of a search, as the supervisor's order says."""
    threading.Thread(target=_end_with_sweep, daemon=True).start()
    order = json.loads(sys.argv[1])
    # A shell starts a background process with Ctrl-C ignored. The sweep ends this process with that signal.
    with signals.raised_as_interrupts(also_ignored=(signal.SIGINT,)):
        try:
            if "specs" in order:
                _run_jobs(Path(order["specs"]), order["first"], order["at_once"], order["code"])
            else:
                _run_search(order["config_name"], order["config_dir"], order["overrides"], order["code"])
        except BaseException:
            if signals.received():
                sys.exit(130)
            raise


def _run_jobs(specs: Path, first: int, at_once: int | None, code: str) -> None:
    from dfa_cli.config.hydra_internals import launch_jobs
    from dfa_cli.sweeps.specs import batch_overrides, job_config, sweep_config
    from dfa_cli.sweeps.task import task

    master = sweep_config(specs)
    if master.hydra.runtime.choices.get("hydra/launcher") == "joblib":
        # The processes of joblib get Ctrl-C as well and close their records. Ignore it in this process, where an
        # exception would make joblib kill those that have not closed them yet.
        signal.signal(signal.SIGINT, lambda number, frame: None)
    launch_jobs(
        master,
        functools.partial(job_config, specs),
        functools.partial(task, worker=os.getpid(), code=code),
        batch_overrides(specs),
        first,
        at_once,
    )


def _run_search(config_name: str, config_dir: str | None, overrides: list[str], code: str) -> None:
    from dfa_cli.config.hydra_internals import open_hydra, run_sweeper
    from dfa_cli.config.paths import conf_dir
    from dfa_cli.config.plugins import add_plugin_folder
    from dfa_cli.config.registration import register_with_hydra
    from dfa_cli.sweeps.task import task

    register_with_hydra()
    add_plugin_folder(config_dir)
    with open_hydra(conf_dir(), config_dir) as hydra:
        run_sweeper(hydra, config_name, overrides, functools.partial(task, worker=os.getpid(), code=code))


def _end_with_sweep() -> None:
    """End this process and its children when the sweep's process has ended, which closes the pipe to our input."""
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGINT)
    time.sleep(GRACE_SECONDS)
    os.killpg(0, signal.SIGKILL)
