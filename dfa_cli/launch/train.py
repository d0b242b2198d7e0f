"""`dfa train`, from its words to the exit code."""

from __future__ import annotations

import secrets
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from dfa_cli.config.compose import compose_jobs
from dfa_cli.config.extras import require_extras
from dfa_cli.config.hydra_entry import flags_of, hydra_main, only_shows
from dfa_cli.config.overrides import quoted, with_aliases
from dfa_cli.console.messages import shortest
from dfa_cli.errors import DfaError
from dfa_cli.launch.fallback import fallback
from dfa_cli.launch.folder import _empty, _place, refuse_to_share
from dfa_cli.launch.task import _failures, task
from dfa_cli.machine.files import UNWRITABLE, cannot_write
from dfa_cli.records.run import status

COMPLETED, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130  # exit codes


def launch(arguments: Sequence[str], prog: str = "dfa train") -> int:
    """Run what the arguments say and return the exit code: 0 completed, 1 failed, 2 misused, 130 interrupted."""
    arguments = with_aliases(arguments)
    require_extras(arguments)
    flags = flags_of(arguments, prog)
    if only_shows(flags):
        hydra_main(arguments, prog, task)
        return COMPLETED
    # named here, so that the folder and the record carry the same name
    name = [] if flags.multirun else [f"run_id='{secrets.token_hex(4)}'"]
    jobs = compose_jobs([*flags.overrides, *name], flags.multirun, flags.config_dir)
    if flags.multirun and jobs[0].grids:
        experiment = jobs[0].choices["experiment"]
        raise DfaError(
            f"experiment={experiment} has several grids, which only a sweep runs: dfa sweep experiment={experiment}"
        )
    if not flags.multirun and (jobs[0].grids or jobs[0].sweeper.get("params")):
        study = f"experiment={jobs[0].choices.get('experiment')}"
        print(f"note: this is one run; dfa sweep {study} makes all that {study} lists.", file=sys.stderr)
    stand_in = fallback(jobs)
    if stand_in:
        jobs = compose_jobs([*flags.overrides, *name, *stand_in], flags.multirun, flags.config_dir)
    refuse_to_share(jobs[0].folder, flags.multirun)
    with _place(jobs[0].folder) as top:
        where = f"hydra.{'sweep' if flags.multirun else 'run'}.dir={quoted(str(top))}"
        return _run([*arguments, *name, *stand_in, where], prog, top, len(jobs) if flags.multirun else None)


def _run(arguments: Sequence[str], prog: str, top: Path, jobs: int | None) -> int:
    """`hydra.main`, and the exit code; `jobs`: how many `-m` makes, `None` for a single run."""
    # SLURM ends a job with SIGTERM: it is then recorded like Ctrl-C
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        hydra_main(arguments, prog, task)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise DfaError(cannot_write(top, error)) from error
    except KeyboardInterrupt:
        print(f"\ninterrupted; what was measured is in {shortest(top)}", file=sys.stderr)
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)
    return _exit_code(top, jobs)


def _exit_code(top: Path, jobs: int | None) -> int:
    """From the records, since a job may have run in another process."""
    if _failures:
        error = _failures.pop()
        trained = "train_seconds" in status(top).get("time", {}) or (top / "metrics.csv").exists()
        if not trained:
            _empty(top)  # refused before it began: an attempt, not a run
        raise error
    completed = sum(status(folder).get("status") == "completed" for folder in [top, *top.glob("*/")])
    if jobs is not None:
        print(f"\n{completed} of {jobs} completed; to compare them: dfa compare {shlex.quote(shortest(top))}")
    return COMPLETED if completed >= (jobs or 1) else FAILED
