"""`dfa sweep`, from the overrides to the exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from dfa_cli.config.compose import compose_jobs
from dfa_cli.config.extras import require_extras
from dfa_cli.config.hydra_entry import flags_of, hydra_main, only_shows
from dfa_cli.config.overrides import is_hydras, with_aliases
from dfa_cli.config.spec import Job
from dfa_cli.console.messages import shortest
from dfa_cli.errors import DfaError, one_of
from dfa_cli.launch.fallback import fallback
from dfa_cli.launch.task import task
from dfa_cli.launch.train import COMPLETED, FAILED, INTERRUPTED
from dfa_cli.machine.files import UNWRITABLE, cannot_write
from dfa_cli.sweeps import search
from dfa_cli.sweeps.display import Display
from dfa_cli.sweeps.plan import Plan, Point, plan
from dfa_cli.sweeps.supervisor import Sweep

PROG = "dfa sweep"


def sweep(arguments: Sequence[str]) -> int:
    """Run every combination that is not there yet; 0 when all are completed, 1 when not, 130 when interrupted."""
    arguments = with_aliases(arguments)
    require_extras(arguments)
    flags = flags_of(arguments, PROG)
    if only_shows(flags):
        hydra_main(arguments, PROG, task)
        return COMPLETED
    hydras = [word for word in flags.overrides if is_hydras(word)]
    words = [word for word in flags.overrides if not is_hydras(word)]
    probe = compose_jobs([*hydras, *search.example(words)], True, flags.config_dir)[0]
    try:
        if search.is_search(probe):
            return _search(words, hydras, flags.config_dir, probe)
        return _grid(words, hydras, flags.config_dir)
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        raise DfaError(cannot_write(probe.folder, error)) from error


def _grid(words: list[str], hydras: list[str], config_dir: str | None) -> int:
    jobs = compose_jobs([*hydras, *words], True, config_dir)
    if stand_in := fallback(jobs):
        jobs = compose_jobs([*hydras, *words, *stand_in], True, config_dir)
    for job in jobs:
        job.overrides[:] = [word for word in job.overrides if word not in hydras]
    first = jobs[0]
    outputs = Path(first.config["outputs"]).absolute()
    planned = plan(jobs, outputs, first.config["reuse"])
    to_run = sum(not point.ended for point in planned.points)
    print(_opening(planned, to_run), flush=True)
    if to_run:
        at_once, environment = _shares(first)
        with Display(len(planned.points)) as display:
            running = Sweep(
                planned.points,
                first.folder,
                outputs,
                [*hydras, *_searched(config_dir)],
                display,
                fail_fast=first.config["fail_fast"],
                at_once=at_once,
                environment=environment,
            )
            running.run()
    return _closing(planned.points, first.folder, to_run and running.signals)


def _searched(config_dir: str | None) -> list[str]:
    return [] if config_dir is None else ["--config-dir", config_dir]


def _search(words: list[str], hydras: list[str], config_dir: str | None, probe: Job) -> int:
    outputs = Path(probe.config["outputs"]).absolute()
    stand_in = [word for word in fallback([probe]) if word.startswith("data=")]
    trials = search.Search([*words, *stand_in], probe.sweeper, [*hydras, *_searched(config_dir)], outputs)
    direction = str(probe.sweeper.get("direction", "maximize")).lower()
    if search.is_optuna(probe.sweeper) and not direction.endswith(("maximize", "minimize")):
        raise DfaError(f"sweeper.direction={one_of(direction, ('maximize', 'minimize'))}.")
    left = trials.left()
    signals, points = 0, []
    if trials.total is not None:
        print(
            f"study {trials.study}: {trials.total - left} of {trials.total} trials are there, {left} to run",
            flush=True,
        )
    if left:
        with Display(left if trials.total is not None else None) as display:
            running = Sweep(
                [], probe.folder, outputs, [], display, fail_fast=probe.config["fail_fast"], trials=trials
            )
            running.run()
            signals, points = running.signals, running.points
    code = _closing(points, probe.folder, signals) if points else COMPLETED
    if search.is_optuna(probe.sweeper) and (best := trials.best()):
        print(best)
    known = trials.total is not None and trials.storage is not None  # how many trials are there
    return FAILED if known and trials.left() and not signals else code


def _shares(job: Job) -> tuple[int | None, dict[str, str]]:
    """How many jobs the launcher may get at once, and the environment they need to share the cores."""
    if job.launcher["_target_"].endswith(".LocalLauncher"):  # submitit's starts all it gets at once
        return os.cpu_count() or 1, {"OMP_NUM_THREADS": "1"}
    return None, {}


def _opening(planned: Plan, to_run: int) -> str:
    count = len(planned.points)
    words = [f"{count} job{'s' if count != 1 else ''}"]
    if planned.merged:
        words.append(f"{planned.merged} more equal to one of them")
    if count > to_run:
        words.append(f"{count - to_run} reused")
    return f"sweep of {', '.join(words)}; {to_run} to run"


def _closing(points: Sequence[Point], top: Path, signals: int) -> int:
    """The table, the failures, the exit code."""
    from dfa_cli.comparison.comparison import compare
    from dfa_cli.comparison.tables import render
    from dfa_cli.console import output
    from dfa_cli.records.run import Run, read

    there: list[Run] = []
    for point in points:
        if point.folder is not None and point.state in ("completed", "reused", "failed", "interrupted"):
            try:
                there.append(read(point.folder))
            except ValueError:
                continue
    if any(run.status == "completed" for run in there):
        output.emit("\n" + render(compare(there), width=output.terminal_width()))
    lines = [""]
    shared: set[str] = set()
    for point in points:
        if point.state in ("failed", "interrupted"):
            log = f" ({shortest(point.folder / 'run.log')})" if point.folder is not None else ""
            reason = "as above" if not log and point.reason in shared else point.reason
            shared.add(point.reason)
            lines.append(f"{point.state}: {point.label}: {reason or 'no reason known'}{log}")
    if stopped := sum(point.state == "stopped" for point in points):
        lines.append(
            f"{stopped} job{'s were' if stopped > 1 else ' was'} not begun; the same command goes on from here"
        )
    if any(point.state in ("completed", "failed", "interrupted") for point in points):
        lines.append(f"records in {shortest(top)}")
    output.emit("\n".join(lines) + "\n")
    if signals:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return COMPLETED if all(point.state in ("completed", "reused") for point in points) else FAILED
