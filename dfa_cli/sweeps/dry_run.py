"""`dfa sweep --dry-run`: tells what a sweep would run and what it would take. Nothing is run or written."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dfa_cli.config.compose import Composed
from dfa_cli.config.spec import RunSpec
from dfa_cli.console import output
from dfa_cli.console.messages import entry, shortest
from dfa_cli.console.table import wrap
from dfa_cli.console.values import duration, format_time, plural, printable, quantity
from dfa_cli.errors import DfaError
from dfa_cli.launch.task import resolve_spec
from dfa_cli.records.run import Run
from dfa_cli.records.words import light_in_words
from dfa_cli.sweeps.estimate import Estimate, estimate, startup
from dfa_cli.sweeps.plan import Plan, SweepRun, completed_runs, runs_below
from dfa_cli.sweeps.search import Study

MOST_LINES = 5  # jobs of one group, or kinds of runs, that a terminal shows
NOTHING_RUN = ["", "Nothing was run or written. Without --dry-run the command runs it."]


def print_grid(opening: Sequence[str], planned: Plan, launcher: Mapping[str, Any], outputs: Path) -> None:
    """Print what a sweep over all combinations would do. `opening`: the lines with which it would begin."""
    width = output.terminal_width()
    lines = [*opening, *jobs_in_words(planned.runs, width)]
    jobs = [
        (resolve_spec(run.composed.spec), run.earlier.resumes_after or 0)
        for run in planned.runs
        if run.composed is not None and not run.ended
    ]
    if jobs:
        condition = ", if the cluster has room for them" if "Slurm" in launcher["_target_"] else ""
        lines += cost_in_words(
            jobs, planned.completed, jobs_at_once(launcher), outputs, width, condition, not _shares(launcher)
        )
    output.write_stdout("\n".join([*lines, *NOTHING_RUN]) + "\n")


def print_search(study: Study, first: Composed) -> None:
    """Print what a search would do, as far as it is known before its sweeper picks the values."""
    if study.total is None:
        lines = ["search: the sweeper decides how many trials there are, and picks their values"]
    else:
        left = study.left()
        lines = [
            f"study {study.name}: {study.total - left} of {study.total} trials are there, {left} to run",
            "The sweeper picks the values of a trial when the trials before it have ended.",
        ]
        with contextlib.suppress(DfaError):  # This machine lacks what the trials need, as before a cluster.
            jobs = [(resolve_spec(first.spec), 0)] * left
            trials = study.node["n_jobs"] if isinstance(study.node["n_jobs"], int) else 1
            at_once = min(jobs_at_once(first.launcher) or trials, trials)
            found, width = runs_below(study.outputs), output.terminal_width()
            output.name_skipped(found.skipped)
            condition = ", if all trials are of this kind:"
            if left:
                lines += cost_in_words(
                    jobs,
                    completed_runs(found),
                    at_once,
                    study.outputs,
                    width,
                    condition,
                    not _shares(first.launcher),
                )
    output.write_stdout("\n".join([*lines, *NOTHING_RUN]) + "\n")


def jobs_in_words(runs: Sequence[SweepRun], width: int | None) -> list[str]:
    """List the jobs, in groups by what would happen to them. With a `width`, only the first ones of a long group."""
    groups: dict[str, list[str]] = defaultdict(list)
    for run in sorted(runs, key=_rank):
        # A record may come from anywhere, and its words must not control the terminal.
        heading, note = map(printable, _fate(run))
        groups[heading].append(f"{run.label}{f'  ({note})' if note else ''}")
    lines = []
    room = width or 10_000
    for heading, jobs in groups.items():
        shown = jobs if width is None else jobs[:MOST_LINES]
        lines += ["", *wrap(f"{plural(len(jobs), 'job')} {heading}", room)]
        for job in shown:
            first, *more = wrap(job, room - 4)
            lines += [f"  {first}", *(f"    {line}" for line in more)]
        if len(jobs) > len(shown):
            lines.append(f"  and {len(jobs) - len(shown)} more")
    return lines


def _rank(run: SweepRun) -> int:
    """Order the groups: what is there first, then what is run."""
    earlier = run.earlier
    if earlier.is_reused:
        return 0
    return (
        1
        if earlier.resumes_after is not None
        else 2
        if earlier.running
        else 3
        if earlier.why_not_reused
        else 4
    )


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
    if earlier.why_not_reused:
        return f"run again, because {earlier.why_not_reused}", name
    return "to run", ""


def cost_in_words(
    jobs: Sequence[tuple[RunSpec, int]],
    completed: Sequence[Run],
    at_once: int | None,
    outputs: Path,
    width: int | None,
    condition: str = "",
    each_starts: bool = False,
) -> list[str]:
    """Say how long jobs take, what they leave on disk, and from which of the `completed` runs this is known.

    `jobs`: each job, with the number of its epochs that are done already. `at_once`: how many run at a time, or `None`
    where a cluster decides it. `condition`: when the figures hold. `each_starts`: each job has a process of its own,
    which takes time to start. Otherwise the jobs of a process follow one another.
    """
    kinds = sorted(estimate(jobs, completed), key=lambda kind: not kind.records)  # the known ones first
    known = [kind for kind in kinds if kind.records]
    number = min(at_once or 1, len(jobs))
    how = f"{number} jobs at once" if number > 1 else "one job after another"
    start = startup(completed)
    time = [how if at_once else "if one job ran after another; the launcher decides how many run at once"]
    size = []
    if known:
        starts = sum(kind.runs for kind in known) if each_starts else number
        # The last job may run alone.
        seconds = max(
            (sum(kind.seconds for kind in known) + starts * (start or 0.0)) / number,
            *(kind.longest + (start or 0.0) for kind in known),
        )
        most = "at most" if any(spec.config["patience"] for spec, _ in jobs) else "about"
        time.insert(0, f"{most} {duration(seconds)}")
        least = "about" if len(known) == len(kinds) else "at least"
        size = [f"{least} {quantity(sum(kind.size for kind in known), 'B')}"]
    if known and len(known) < len(kinds):
        unknown = plural(sum(kind.runs for kind in kinds if not kind.records), "job")
        time.append(f"and {unknown} more of unknown length")
    folder = next(path for path in (outputs, *outputs.parents) if path.exists())
    size.append(f"{quantity(shutil.disk_usage(folder).free, 'B')} are free in {shortest(folder)}")
    shown = kinds if width is None else kinds[:MOST_LINES]
    basis = [_basis(kind) for kind in shown if kind.records]
    if known and start is not None:
        basis.append(f"{duration(start)} to start a process")
    elif known:
        basis.append("the start of a process is not counted, since no record tells how long it takes")
    if unknown := [f"{plural(kind.runs, 'job')} of {kind.kind}" for kind in shown if not kind.records]:
        basis.append(f"no record yet of the same kind as {'; '.join(unknown)}")
    if len(kinds) > len(shown):
        basis.append(f"and {len(kinds) - len(shown)} more kinds of runs")
    return [
        "",
        *entry("time", ", ".join(time) + condition),
        *(line for words in basis for line in entry("", words)),
        *_light(kinds),
        *entry("disk", "; ".join(size)),
    ]


def _light(kinds: Sequence[Estimate]) -> list[str]:
    """Say the time and the energy of the modelled optics, as far as records of equal devices tell it."""
    seconds, joules = sum(kind.light for kind in kinds), sum(kind.joules for kind in kinds)
    if not seconds:
        return []
    words = f"about {light_in_words(seconds, joules)} of modelled optics"
    if unknown := sum(kind.unlit for kind in kinds):
        words += f", and {plural(unknown, 'job')} more of unknown light"
    return entry("light", words)


def _basis(kind: Estimate) -> str:
    each = duration(kind.seconds / kind.runs)
    return f"{plural(kind.runs, 'job')}, {each} each, from {plural(kind.records, 'run')} of {kind.kind}"


def _shares(launcher: Mapping[str, Any]) -> bool:
    """Tell whether one process of a launcher runs several jobs one after another."""
    return launcher["_target_"].endswith((".BasicLauncher", ".JoblibLauncher"))


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
