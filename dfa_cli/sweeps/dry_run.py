"""`dfa sweep --dry-run`: tells what a sweep would run and what it would take. Nothing is run or written."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dfa_cli.console.messages import entry, shortest
from dfa_cli.console.table import truncate
from dfa_cli.console.values import duration, format_time, plural, quantity
from dfa_cli.launch.task import resolve_spec
from dfa_cli.sweeps.estimate import Estimate, estimate
from dfa_cli.sweeps.plan import Plan, SweepRun

MOST_LINES = 5  # jobs of one group, or kinds of runs, that a terminal shows


def jobs_in_words(runs: Sequence[SweepRun], width: int | None) -> list[str]:
    """List the jobs, in groups by what would happen to them. With a `width`, only the first ones of a long group."""
    groups: dict[str, list[str]] = defaultdict(list)
    for run in sorted(runs, key=_rank):
        heading, note = _fate(run)
        groups[heading].append(f"  {run.label}{f'  ({note})' if note else ''}")
    lines = []
    for heading, jobs in groups.items():
        shown = jobs if width is None else [truncate(job, width) for job in jobs[:MOST_LINES]]
        more = [f"  and {len(jobs) - len(shown)} more"] if len(jobs) > len(shown) else []
        lines += ["", f"{heading}: {plural(len(jobs), 'job')}", *shown, *more]
    return lines


def _rank(run: SweepRun) -> int:
    """Order the groups: what is there first, then what is run."""
    earlier = run.earlier
    if earlier.is_reused:
        return 0
    return 1 if earlier.resumes_after is not None else 2 if earlier.running else 3 if earlier.why_again else 4


def _fate(run: SweepRun) -> tuple[str, str]:
    """Say what would happen to a job, for the heading of its group, and what is to be said of the job alone."""
    earlier = run.earlier
    name = f"run {earlier.run.id} of {format_time(earlier.run.created)}" if earlier.run is not None else ""
    if earlier.is_reused:
        return "reused", name
    if earlier.resumes_after is not None:
        return "resumed", f"{name}, after epoch {earlier.resumes_after} of {run.epochs}"
    if earlier.running:
        return "run by another process now, and waited for", ""
    if earlier.why_again:
        return f"run again, because {earlier.why_again}", name
    return "run", ""


def cost_in_words(planned: Plan, launcher: Mapping[str, Any], outputs: Path, width: int | None) -> list[str]:
    """Say how long the jobs that are left take, what they leave on disk, and what the figures are from."""
    jobs = [
        (resolve_spec(run.composed.spec), run.earlier.resumes_after or 0)
        for run in planned.runs
        if run.composed is not None and not run.ended
    ]
    kinds = estimate(jobs, planned.completed)
    known = [kind for kind in kinds if kind.records]
    at_once = jobs_at_once(launcher)
    number = min(at_once or 1, len(jobs))
    if at_once is None:
        words = "as many jobs at once as the cluster has room for"
    else:
        words = f"{number} jobs at once" if number > 1 else "one job after another"
    unknown = sum(kind.runs for kind in kinds if not kind.records)
    but = (
        f", not counting {plural(unknown, 'job')} of which there is no record yet"
        if known and unknown
        else ""
    )
    seconds = max(
        sum(kind.seconds for kind in known) / number, max((kind.longest for kind in known), default=0)
    )
    lines = ["", *entry("time", f"{f'{most} {duration(seconds)}, ' if known else ''}{words}{but}")]
    shown = kinds if width is None else kinds[:MOST_LINES]
    lines += [line for kind in shown for line in entry("", _basis(kind))]
    if len(kinds) > len(shown):
        lines += entry("", f"and {len(kinds) - len(shown)} more kinds of runs")
    folder = next(path for path in (outputs, *outputs.parents) if path.exists())
    free = f"{quantity(shutil.disk_usage(folder).free, 'B')} are free in {shortest(folder)}"
    size = (
        f"{'at least' if unknown else 'about'} {quantity(sum(kind.size for kind in known), 'B')}; "
        if known
        else ""
    )
    return [*lines, *entry("disk", f"{size}{free}")]


def _basis(kind: Estimate) -> str:
    jobs = plural(kind.runs, "job")
    if not kind.records:
        return f"{jobs} of {kind.kind}: no record of this kind yet"
    each = duration(kind.seconds / kind.runs)
    return f"{jobs}, {each} each, from {plural(kind.records, 'run')} of {kind.kind}"


def jobs_at_once(launcher: Mapping[str, Any]) -> int | None:
    """Return how many jobs a launcher runs at a time, or `None` where a cluster decides it."""
    kind = launcher["_target_"].rpartition(".")[2]
    if kind == "BasicLauncher":
        return 1
    if kind == "JoblibLauncher" and isinstance(launcher["n_jobs"], int):
        from joblib import effective_n_jobs

        return effective_n_jobs(launcher["n_jobs"])
    if kind == "LocalLauncher":
        return os.cpu_count() or 1
    if kind == "SlurmLauncher" and isinstance(launcher["array_parallelism"], int):
        return launcher["array_parallelism"]
    return None
